// Drives Chromium for browser.py: node browser.js PLAYWRIGHT CHROMIUM [OPTION...]
// Reads commands from standard input, a JSON object a line, in turn:
//   {"open": OPTIONS}   a page in a profile of its own (browser.newContext)
//   {"page": N, "call": "keyboard.press", "with": [...]}   a method of a page
//   {"page": N, "seen": true}   what it reported since the last time
// and answers each with a line: {"value": ...} or {"error": TEXT}. The browser
// ends with the input.
"use strict";
const { chromium } = require(process.argv[2]);
const readline = require("readline");

const WAIT = 30000;
const ATTEMPTS = 3;
const pages = [];

// A page reports this where a field is filled in before its first frame, in
// which autofocus is done.
const EARLY_FOCUS = "Autofocus processing was blocked because a document "
    + "already has a focused element.";

async function open(browser, options) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const seen = { requests: [], console: [], errors: [] };
    page.setDefaultTimeout(WAIT);
    page.on("request", (r) => seen.requests.push(r.url()));
    page.on("console", (m) => {
        if (m.text() !== EARLY_FOCUS)
            seen.console.push(`${m.type()}: ${m.text()} ${m.location().url}`);
    });
    page.on("pageerror", (e) => seen.errors.push(String(e)));
    page.on("dialog", (d) => {
        seen.errors.push(`dialog: ${d.message()}`);
        d.dismiss();
    });
    pages.push({ context, page, seen });
    return pages.length - 1;
}

async function call({ context, page }, name, args) {
    const [method, ...path] = name.split(".").reverse();
    const all = { context, page };
    let object = page;
    for (const part of path.reverse())
        object = all[part] ?? object[part];
    const value = await object[method](...args);
    // Of a response its status; other objects of Playwright stay here.
    return value?.status ? value.status() : value?._type ? null : value;
}

async function run(browser, command) {
    if (command.open)
        return open(browser, command.open);
    const page = pages[command.page];
    if (command.seen)
        return JSON.parse(JSON.stringify(page.seen, (key, value) =>
            Array.isArray(value) ? value.splice(0) : value));
    return call(page, command.call, command.with);
}

// Chromium has crashed while it opened its first page. It starts up to
// ATTEMPTS times.
async function launch(executablePath, options) {
    const args = ["--no-proxy-server", "--disable-quic", "--disable-gpu",
        ...options];
    for (let attempt = 1; ; attempt++) {
        let browser;
        try {
            browser = await chromium.launch({ executablePath, args });
            await (await browser.newPage()).close();
            return browser;
        } catch (e) {
            await browser?.close();
            if (attempt === ATTEMPTS)
                throw e;
            console.error(`Chromium ended, attempt ${attempt}: ${e.stack}`);
        }
    }
}

async function main() {
    const browser = await launch(process.argv[3], process.argv.slice(4));
    for await (const line of readline.createInterface(process.stdin)) {
        let answer;
        try {
            answer = { value: await run(browser, JSON.parse(line)) };
        } catch (e) {
            answer = { error: String(e.stack) };
        }
        console.log(JSON.stringify(answer));
    }
    await browser.close();
}

main();
