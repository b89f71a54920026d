"""The dashboard in a browser, and who fills the store while it is looked at."""

import json
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from importlib import resources

from playwright.sync_api import expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]

PAGES = ["overview", "alerts", "fleet", "events", "rules", "access", "audit"]

#: Everything may be slow where many share a processor.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


def ask(do, **more):
    """Has the test do something with the store."""
    print(json.dumps({"do": do, **more}), flush=True)
    return json.loads(sys.stdin.readline())


class Dashboard:
    """A tab with the dashboard in it. What goes wrong in it is remembered."""

    def __init__(self, page, url, token):
        self.page, self.url, self.token = page, url, token
        self.wrong, self.elsewhere, self.loads = [], [], 0
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", self._said)
        page.on("request", self._asked)
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("domcontentloaded", lambda _: setattr(self, "loads", self.loads + 1))

    def _said(self, message):
        # What is refused is a line on the console by the browser's own doing.
        if message.type in ("error", "warning") and not re.search("status of 40[0139]", message.text):
            self.wrong.append(f"console: {message.text}")

    def _asked(self, request):
        if not request.url.startswith(self.url + "/"):
            self.elsewhere.append(request.url)

    def open(self, place="", signed_in=True):
        """Opens a page, with the token in place unless told otherwise."""
        if signed_in:
            self.page.add_init_script(f"sessionStorage.setItem('lavender.token', '{self.token}')")
        self.page.goto(f"{self.url}/{place}")
        if signed_in:
            expect(self.page.locator(".state")).to_have_attribute("data-state", "live")
        return self.page

    def to(self, name):
        """Goes to another page by its link."""
        self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()

    def rows(self):
        return self.page.locator(".list-row")

    def parameters(self):
        """What stands in the URL behind the page's name."""
        return dict(part.split("=", 1) for part in re.split("[?&]", self.page.url)[1:])

    def check(self):
        assert not self.wrong, self.wrong
        assert not self.elsewhere, f"it asked elsewhere: {self.elsewhere}"


@contextmanager
def dashboard(url, role=None, **options):
    """A browser with nothing in it, and one tab; signed in by an analyst's token, or by one of that role."""
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=os.environ["CHROMIUM"], headless=True, args=ARGUMENTS,
            **{"viewport": {"width": 1280, "height": 800}, **options})
        token = ask("token", role=role)["secret"] if role else os.environ["LAVENDER_TOKEN"]
        opened = Dashboard(context.pages[0], url, token)
        yield opened
        opened.check()
        context.close()


def look(page, place, scheme, width):
    """What axe finds to be serious."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator("[aria-busy], main :text-is('Loading')")).to_have_count(0)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    across = page.evaluate("document.documentElement.scrollWidth")
    assert across <= width, f"{place}, {width}: it is {across} wide"
    return [(place, scheme, width, rule["id"], [node["html"] for node in rule["nodes"][:3]])
            for rule in found if rule["impact"] in ("serious", "critical")]
