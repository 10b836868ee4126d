// Opens each page in headless Chromium at two widths and both colour schemes, and prints one JSON line per fault.
//   node tests/browser.mjs PLAYWRIGHT CHROMIUM ORIGIN SHOTS PATH ...
// SHOTS is a folder for screenshots, or "-". PLAYWRIGHT is the URL of playwright-core's index.mjs.

import { join } from "node:path";

const [playwright, executablePath, origin, shots, ...paths] = process.argv.slice(2);
const { chromium } = await import(playwright);
const WIDTHS = { phone: 390, desktop: 1280 };
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--hide-scrollbars"];

const say = (fault) => console.log(JSON.stringify(fault));

// What sticks out to the right: the page itself must not scroll, boxes inside it may.
const sticksOut = () => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide <= 0) return "";
  const worst = [...document.querySelectorAll("body *")].reverse()
    .find((one) => one.getBoundingClientRect().right > window.innerWidth + 1);
  return `${wide} pixels too wide` + (worst ? `, at <${worst.tagName.toLowerCase()} class="${worst.className}">` : "");
};

const browser = await chromium.launch({ executablePath, headless: true, args: QUIET });
try {
  for (const [name, width] of Object.entries(WIDTHS)) {
    for (const colorScheme of ["light", "dark"]) {
      const context = await browser.newContext({
        colorScheme, viewport: { width, height: 844 },
        deviceScaleFactor: name === "phone" ? 2 : 1, reducedMotion: "reduce",
      });
      const open = async (path) => {
        const page = await context.newPage();
        const where = { path, width, colorScheme };
        page.on("console", (message) => {
          if (message.type() === "error") say({ ...where, fault: "console error", what: message.text() });
        });
        page.on("pageerror", (error) => say({ ...where, fault: "console error", what: String(error) }));
        page.on("requestfailed", (request) => {
          if (request.url().startsWith(origin)) say({ ...where, fault: "request failed", what: request.url() });
        });
        await page.route("**/*", (route) => {
          const url = route.request().url();
          if (url.startsWith(origin) || url.startsWith("data:") || url.startsWith("blob:")) return route.continue();
          say({ ...where, fault: "request to another host", what: url });
          return route.abort();
        });
        await page.goto(origin + path, { waitUntil: "load" });
        await page.waitForLoadState("networkidle");
        const wide = await page.evaluate(sticksOut);
        if (wide) say({ ...where, fault: "scrolls sideways", what: wide });
        if (shots !== "-") {
          const file = (path.replaceAll("/", "-").replace(/^-|-$/g, "") || "home") + `-${name}-${colorScheme}.png`;
          await page.screenshot({ path: join(shots, file), fullPage: true });
        }
        await page.close();
      };
      if (shots === "-") await Promise.all(paths.map(open));
      else for (const path of paths) await open(path);  // side by side, long pictures come out torn
      await context.close();
    }
  }
} finally {
  await browser.close();
}
