"use strict";

/* The page works without this script. With it the form is sent in the
 * background, the short link can be copied, and the last links made in this
 * browser are listed. All words come from the page, in the reader's language.
 */
(() => {
    const STORE = "curt.recent";
    const RECENT_MAX = 10;
    const element = (id) => document.getElementById(id);

    function say(text) {
        element("status").textContent = text;
    }

    function showTimes(root) {
        for (const time of root.querySelectorAll("time[datetime]"))
            showTime(time, time.dateTime, {dateStyle: "long", timeStyle: "short"});
    }

    function showTime(time, text, style) {
        const date = new Date(text.replace(" ", "T"));
        if (isNaN(date))
            return;
        /* The page's language as the reader's country writes it. */
        const lang = document.documentElement.lang;
        const own = navigator.languages.find((name) => name.split("-")[0] === lang);
        time.dateTime = date.toISOString();
        time.textContent = date.toLocaleString(own || lang, style);
    }

    /* ---- Recent links, in localStorage: it may be off, full or garbage ---- */

    const isUrl = (text) => typeof text === "string" && /^https?:\/\//i.test(text);

    function readRecent() {
        try {
            const links = JSON.parse(localStorage.getItem(STORE));
            return links.filter((link) => isUrl(link?.short) && isUrl(link.long))
                .slice(0, RECENT_MAX);
        } catch {
            return [];
        }
    }

    function remember(short, long) {
        const links = readRecent().filter((link) => link.short !== short);
        links.unshift({short, long, date: new Date().toISOString()});
        try {
            localStorage.setItem(STORE, JSON.stringify(links.slice(0, RECENT_MAX)));
        } catch {
            /* The list is a convenience. */
        }
    }

    function showRecent() {
        const list = element("recent");
        if (list === null)
            return;
        const links = readRecent();
        list.replaceChildren(...links.map((link) => {
            const item = element("recent_item").content.cloneNode(true);
            const anchor = item.querySelector("a");
            anchor.href = link.short;
            anchor.textContent = link.short;
            item.querySelector(".to-long").textContent = link.long;
            showTime(item.querySelector("time"), String(link.date), {dateStyle: "medium"});
            return item;
        }));
        element("recent_links").hidden = links.length === 0;
    }

    function forget(event) {
        try {
            localStorage.removeItem(STORE);
        } catch {
            /* Then there is nothing in it. */
        }
        showRecent();
        say(event.target.dataset.done);
        (element("long_url") || document.body).focus();
    }

    /* ---- The result ---- */

    /* Browsers offer navigator.clipboard to https and localhost only. */
    async function copyText(text, anchor) {
        try {
            await navigator.clipboard.writeText(text);
            return true;
        } catch {
            getSelection().selectAllChildren(anchor);
            return document.execCommand("copy");
        }
    }

    async function copy(event) {
        const button = event.currentTarget;
        const anchor = element("short_url");
        if (!await copyText(anchor.textContent, anchor))
            return;
        const label = button.dataset.label || button.textContent;
        button.dataset.label = label;
        button.textContent = button.dataset.copied;
        say(button.dataset.copied);
        setTimeout(() => {
            button.textContent = label;
        }, 3000);
    }

    function startResult() {
        const button = element("copy");
        if (button === null)
            return;
        button.hidden = false;
        button.addEventListener("click", copy);
        remember(element("short_url").textContent,
                 element("result").querySelector(".url").textContent);
    }

    /* ---- The form ---- */

    function showError(text) {
        const field = element("long_url");
        say("");
        let error = element("error");
        if (error === null) {
            error = document.createElement("p");
            error.id = "error";
            error.setAttribute("role", "alert");
            element("hint").after(error);
        }
        error.textContent = text;
        field.setAttribute("aria-invalid", "true");
        field.setAttribute("aria-describedby", "error hint");
        field.focus();
    }

    function setBusy(form, busy) {
        form.setAttribute("aria-busy", String(busy));
        form.querySelector("[type=submit]").disabled = busy;
    }

    /* Puts the answer into the page. False: it is not a page of curt. */
    function showAnswer(form, html) {
        const answer = new DOMParser().parseFromString(html, "text/html");
        const fresh = answer.getElementById("fresh");
        const detail = answer.getElementById("detail");
        if (fresh === null && detail === null)
            return false;
        if (fresh === null) {
            showError(detail.textContent);
            return true;
        }
        const key = element("api_key")?.value;
        element("fresh").replaceWith(fresh);
        if (key && element("api_key") !== null)
            element("api_key").value = key;
        document.title = answer.title;
        start();
        const done = element("result") !== null;
        say(done ? form.dataset.done : "");
        element(done ? "result" : "long_url").focus();
        return true;
    }

    async function send(form) {
        const answer = await fetch(form.action, {
            method: "POST",
            headers: {Accept: "text/html"},
            body: new URLSearchParams(new FormData(form)),
            credentials: "same-origin",
            redirect: "manual",
        });
        /* A login on a page of its own: the browser has to show it. */
        if (answer.type === "opaqueredirect")
            return form.submit();
        /* 401 that is not a page of curt: the browser has asked for a password,
         * and got none. */
        if (!showAnswer(form, await answer.text()))
            showError(answer.status === 401 ? form.dataset.login : form.dataset.unexpected);
    }

    async function submit(event) {
        const form = event.currentTarget;
        event.preventDefault();
        if (form.getAttribute("aria-busy") === "true")
            return;
        setBusy(form, true);
        say(form.dataset.sending);
        try {
            await send(form);
        } catch {
            showError(form.dataset.offline);
        }
        setBusy(form, false);
    }

    /* ---- */

    /* What has to be done again when the form and the result are new. */
    function start() {
        const form = element("create");
        if (form !== null)
            form.addEventListener("submit", submit);
        showTimes(document.querySelector("main"));
        startResult();
        showRecent();
    }

    start();
    if (element("forget") !== null)
        element("forget").addEventListener("click", forget);
    if (element("error") !== null)
        element("long_url").focus();
})();
