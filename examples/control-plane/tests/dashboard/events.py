"""Events: as they happen, and those that are stored."""

import re

from page import ask, dashboard, look
from playwright.sync_api import expect

#: What is stored over two seconds after it happened is found, and not shown live. So that a disk that is busy with other
#: tests does not decide, what is to be shown happens a little later than it is asked for.
AHEAD_S = 3


def happens(what):
    return ask(what, ahead=AHEAD_S)


def events_are_shown_as_they_happen(url):
    with dashboard(url) as tab:
        page = tab.open("#/events")
        expect(page.locator(".state")).to_have_attribute("data-state", "live")
        happens("act")
        expect(page.locator(".event-row", has_text="/etc/shadow").first).to_be_visible()
        # All of the act has come: what comes later would be shown below.
        expect(page.locator(".list-row", has_text="exec")).to_have_count(4)
        page.get_by_label("Kind").select_option("exec")
        expect(tab.rows()).to_have_count(0)
        happens("act")
        expect(tab.rows()).to_have_count(4)
        expect(page.locator(".list-row", has_text="file_open")).to_have_count(0)
        page.reload()
        expect(page.get_by_label("Kind")).to_have_value("exec")
        expect(page.locator(".state")).to_have_attribute("data-state", "live")
        happens("act")
        expect(tab.rows()).to_have_count(4)
        page.get_by_role("button", name="Pause").click()
        happens("act")
        expect(page.get_by_text("Paused: 4 wait.")).to_be_visible()
        expect(tab.rows()).to_have_count(4)
        page.get_by_role("button", name="Go on").click()
        expect(tab.rows()).to_have_count(8)
        tab.rows().first.click()
        shown = page.get_by_role("complementary", name="Event")
        # Numbers that no number of JavaScript holds are as they were sent.
        assert re.search(r'"observed_at": \d{18}\d', shown.locator("pre").inner_text())


def stored_events_are_searched(url):
    with dashboard(url) as tab:
        page = tab.open("#/events?kind=exec&span=24h")
        told = page.locator(".list-box > p")
        # Three alerts, of which each has four programs around it.
        expect(told).to_have_text("12 events, the oldest first.")
        expect(tab.rows()).to_have_count(12)
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
        page.get_by_label("When").select_option("")
        expect(tab.rows()).to_have_count(0)
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        # They come as they happen, and are found.
        alert = happens("act")
        expect(tab.rows()).to_have_count(4)
        page.get_by_label("When").select_option("24h")
        expect(told).to_have_text("16 events, the oldest first.")
        ask("act")
        page.get_by_label("Agent").fill("nobody")
        expect(told).to_have_text("No events here.")
        page.reload()
        expect(told).to_have_text("No events here.")
        expect(page.get_by_label("When")).to_have_value("24h")

        # What a process of an alert's tree did, and what happened around it.
        page.goto(f"{url}/#/alerts?alert={alert['id']}")
        page.locator(".tree li[data-evidence=true] .process").last.click()
        page.get_by_role("link", name="what it did").click()
        expect(told).to_have_text("2 events, the oldest first.")
        expect(tab.rows().nth(0)).to_contain_text("exec")
        expect(tab.rows().nth(1)).to_contain_text("/etc/shadow")
        expect(page.get_by_label("When").locator("option:checked")).to_contain_text("Around")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.get_by_role("complementary", name="Event").locator("pre")).to_contain_text('"kind": "exec"')
        page.reload()
        expect(told).to_have_text("2 events, the oldest first.")
        page.get_by_role("button", name="One process").click()
        expect(page.get_by_role("button", name="One process")).to_be_hidden()
        page.get_by_label("Kind").select_option("exec")
        expect(told).to_have_text("4 events, the oldest first.")
        page.goto(f"{url}/#/alerts?alert={alert['id']}")
        page.get_by_role("link", name="events around it").click()
        expect(page.locator(".list-row > :nth-child(2)", has_text="file_open")).to_have_count(1)
        for scheme, width in [("light", 1280), ("dark", 400)]:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            assert not (bad := look(page, "events that are stored", scheme, width)), bad
        # What no date can be is no time.
        page.goto(f"{url}/#/events?around=%2B275760-09-13T00:00:00Z")
        expect(told).to_contain_text("Waiting for events")


def what_the_kernel_numbers_is_shown_in_words(url):
    with dashboard(url) as tab:
        page = tab.open("#/events")
        expect(page.locator(".state")).to_have_attribute("data-state", "live")
        happens("kernel")
        for line in ("prog_load lsm hide", "mount overlay overlay on", "clone time|mnt|cgroup|uts|ipc|user|pid|net",
                     "setns failed (-22)", "pkey_mprotect read|write|execute", "mmap failed (-13)"):
            expect(page.locator(".event-row", has_text=line)).to_have_count(1)
