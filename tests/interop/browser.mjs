// A person at Swagger UI, in Chromium: calls operations, logs in through Authorize, calls them again.
//
// The only argument is a JSON object: `docs` (the page), `chromium` (the program), `login` (who logs in), `allowed` and
// `refused` (paths of two GET operations) and `screenshots` (a folder). What was seen is printed as one JSON object.
// Swagger UI comes from npm in place of its CDN; nothing else outside this machine is reached.

import { createRequire } from 'node:module';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const SECONDS = 1000;
const { docs, chromium: executablePath, login, allowed, refused, screenshots } = JSON.parse(process.argv[2]);
const assets = createRequire(import.meta.url)('swagger-ui-dist').getAbsoluteFSPath();

const browser = await chromium.launch({
  executablePath,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
try {
  console.log(JSON.stringify(await visit(await browser.newContext({ viewport: { width: 1100, height: 900 } }))));
} finally {
  await browser.close();
}

async function visit(context) {
  context.setDefaultTimeout(20 * SECONDS);
  await context.route((url) => url.hostname !== '127.0.0.1', (route) => {
    const file = new URL(route.request().url()).pathname.match(/\/swagger-ui-dist@[^/]+\/([\w.-]+)$/)?.[1];
    return file ? route.fulfill({ path: join(assets, file) }) : route.abort();
  });
  const page = await context.newPage();
  await page.goto(docs);
  await page.locator('.opblock').first().waitFor();
  const seen = { padlocks: await padlocks(page), anonymous: await call(page, allowed) };
  Object.assign(seen, await authorize(page));
  seen.allowed = await call(page, allowed);
  await operation(page, allowed).locator('.opblock-summary-control').click();
  seen.refused = await call(page, refused);
  await picture(page, operation(page, refused).locator('.live-responses-table').first());
  return seen;
}

// Takes a picture of the page down to the end of an element, without the command line that shows the token.
async function picture(page, last) {
  await page.addStyleTag({ content: '.curl-command, .request-url { display: none }' });
  const { y, height } = await last.evaluate((element) => {
    const box = element.getBoundingClientRect();
    return { y: box.y + window.scrollY, height: box.height };
  });
  const clip = { x: 0, y: 0, width: page.viewportSize().width, height: y + height };
  await page.screenshot({ path: join(screenshots, 'swagger-forbidden.png'), fullPage: true, clip });
}

function operation(page, path) {
  return page.locator('.opblock').filter({ has: page.locator(`[data-path="${path}"]`) });
}

// Tells which operations the page asks to authorize for.
async function padlocks(page) {
  const found = {};
  for (const block of await page.locator('.opblock').all()) {
    const path = await block.locator('.opblock-summary-path').getAttribute('data-path');
    found[path] = (await block.locator('.authorization__btn').count()) > 0;
  }
  return found;
}

// Executes an operation as *Try it out* does, and returns what the page then shows.
async function call(page, path) {
  const block = operation(page, path);
  if (!(await block.locator('.opblock-body').isVisible())) {
    await block.locator('.opblock-summary-control').click();
    await block.locator('.try-out__btn').click();
  }
  const answered = page.waitForResponse((response) => new URL(response.url()).pathname === path);
  await block.locator('.execute').click();
  const status = (await answered).status();
  const row = block.locator('.live-responses-table tr.response', { hasText: `${status}` });
  await row.waitFor();
  return {
    status: Number((await row.locator('.response-col_status').innerText()).split('\n')[0]),
    body: JSON.parse(await row.locator('.highlight-code code').innerText()),
    headers: await row.locator('.headerline').allInnerTexts(),
  };
}

// Logs in through *Authorize*, in the window it opens, and returns what the dialog offered and what was sent.
async function authorize(page) {
  await page.locator('.scheme-container .authorize').click();
  const dialog = page.locator('.modal-ux');
  await dialog.waitFor();
  const offered = {
    clientId: await dialog.locator('input[data-name=clientId]').inputValue(),
    scopes: await dialog.locator('.scopes .name').allInnerTexts(),
    checked: await dialog.locator('.scopes input:checked').evaluateAll((all) => all.map((box) => box.dataset.value)),
  };
  await dialog.screenshot({ path: join(screenshots, 'swagger-authorize.png') });
  const asked = page.context().waitForEvent('request', (request) => request.url().includes('code_challenge='));
  const opened = page.waitForEvent('popup');
  const exchanged = page.waitForResponse((response) => response.request().postData()?.includes('grant_type='));
  await dialog.locator('.modal-btn.authorize').click();
  const popup = await opened;
  await popup.locator('input[name=login]').fill(login);
  await popup.locator('input[name=password]').fill('any');
  await popup.locator('button[type=submit]').click();
  const consent = popup.locator('input[name=prompt][value=consent]');
  await consent.waitFor({ state: 'attached' });
  const closed = popup.waitForEvent('close');
  await popup.locator('button[type=submit]').click();
  await closed;
  const request = (await exchanged).request();
  await dialog.getByRole('button', { name: 'Remove authorization' }).waitFor();
  await dialog.locator('.btn-done').click();
  return {
    offered,
    authorizationRequest: Object.fromEntries(new URL((await asked).url()).searchParams),
    tokenRequest: {
      query: Object.fromEntries(new URL(request.url()).searchParams),
      form: Object.fromEntries(new URLSearchParams(request.postData())),
    },
  };
}
