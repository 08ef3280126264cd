"""The plot: SVG, written by hand."""

import math
import statistics

WIDTH = 760
LEFT = 230
RIGHT = 90
BAR = 22
COLOURS = {"curt": "#1f6f54", "quick": "#b7791f", "plain": "#8a8f98"}
OTHER = "#8a8f98"
FONT = 'font-family="sans-serif" font-size="13"'


def escape(text):
    return (text.replace("&", "&amp;").replace("<", "&lt;")
            .replace(">", "&gt;"))


def text_at(x, y, text, anchor="start", extra=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>' % (
        x, y, anchor, extra, escape(text))


def colour(name):
    for word, value in COLOURS.items():
        if word in name:
            return value
    return OTHER


def ceiling(value):
    """The next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(max(1, value)))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= value)


def bars(title, load, top):
    """Horizontal bars of the medians, with a line from least to most."""
    runs = {name: [r["rps"] for r in rs] for name, rs in load.items()}
    most = ceiling(max(max(v) for v in runs.values()))
    scale = (WIDTH - LEFT - RIGHT) / most
    out = [text_at(10, top + 14, title, extra='font-weight="bold"')]
    y = top + 28
    for name, values in runs.items():
        middle = statistics.median(values)
        out.append(text_at(LEFT - 8, y + 15, name, "end"))
        out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
                   % (LEFT, y + 3, middle * scale, BAR - 6, colour(name)))
        out.append('<path d="M%.1f %dH%.1f" stroke="#222" fill="none"/>'
                   % (LEFT + min(values) * scale, y + BAR // 2,
                      LEFT + max(values) * scale))
        out.append(text_at(LEFT + max(values) * scale + 6, y + 15,
                           "{:,.0f}".format(middle)))
        y += BAR
    return out, y + 14


def lines(title, found, top):
    """curt and quick by the number of workers, which doubles."""
    height = 200
    counts = [int(n) for n in found["curt"]]
    values = {name: [statistics.median(r["rps"] for r in runs)
                     for runs in found[name].values()]
              for name in ("quick", "curt")}
    most = ceiling(max(max(v) for v in values.values()))
    bottom = top + 28 + height
    step = (WIDTH - LEFT - RIGHT) / max(1, math.log2(counts[-1]))
    out = [text_at(10, top + 14, title, extra='font-weight="bold"')]
    for part in range(0, 5):
        y = bottom - height * part / 4
        out.append('<path d="M%d %.1fH%d" stroke="#ddd"/>'
                   % (LEFT, y, WIDTH - RIGHT))
        out.append(text_at(LEFT - 8, y + 4,
                           "{:,.0f}".format(most * part / 4), "end"))
    for n in counts:
        out.append(text_at(LEFT + math.log2(n) * step, bottom + 18, str(n),
                           "middle"))
    for name, ys in values.items():
        points = [(LEFT + math.log2(n) * step, bottom - height * y / most)
                  for n, y in zip(counts, ys)]
        out.append('<polyline points="%s" fill="none" stroke="%s"'
                   ' stroke-width="2.5"/>' % (
                       " ".join("%.1f,%.1f" % p for p in points),
                       COLOURS[name]))
        out += ['<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>'
                % (*p, COLOURS[name]) for p in points]
    # Below each other, wherever the lines end.
    for i, name in enumerate(sorted(values, key=lambda n: -values[n][-1])):
        out.append(text_at(WIDTH - RIGHT + 10,
                           bottom - height * max(v[-1] for v in
                                                 values.values()) / most
                           + 4 + 17 * i, name,
                           extra='fill="%s"' % COLOURS[name]))
    return out, bottom + 36


def draw(found):
    out, top = [], 10
    for section, title in (
            ("lighttpd", "Redirects per second through lighttpd"),
            ("servers", "One link under the other web servers"),
            ("create_sqlite", "Durable creates per second on SQLite")):
        if section in found:
            more, top = bars(title, found[section]["load"], top)
            out += more
    if "workers" in found:
        more, top = lines("Redirects per second by the number of workers",
                          found["workers"], top)
        out += more
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d"'
            ' role="img" aria-label="Benchmark of curt" %s>\n'
            '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n'
            % (WIDTH, top, FONT, "\n".join(out)))
