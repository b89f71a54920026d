"""What admins do with the dashboard: commands, tokens, the audit log; and what others are not offered."""

import base64
import re

from page import ask, dashboard, look
from playwright.sync_api import expect


def what_a_role_may_not_do_is_not_offered(url):
    for role, offered in [("viewer", []), ("analyst", ["ping", "list_processes", "hash_file"])]:
        with dashboard(url, role) as tab:
            page = tab.open("#/fleet?agent=web-1")
            pages = page.get_by_role("navigation").get_by_role("link")
            expect(page.get_by_role("button", name="Sign out")).to_have_attribute("title", re.compile(role))
            assert pages.all_inner_texts() == ["Overview", "Alerts", "Fleet", "Events", "Rules"]
            orders = page.get_by_role("region", name="Commands", exact=True)
            if offered:
                choices = orders.get_by_label("Command", exact=True).locator("option")
                expect(choices).to_have_count(len(offered))
                assert [choice.get_attribute("value") for choice in choices.all()] == offered
            else:
                expect(orders).to_contain_text("takes the role analyst")
            page.goto(f"{url}/#/alerts?status=any")
            tab.rows().first.click()
            page.locator("[data-evidence=true] button").click()
            expect(page.locator(".tree .about")).to_be_visible()
            expect(page.locator(".tree .about").get_by_role("button")).to_have_count(0)
            # And who goes there all the same is told why not.
            for place in ["access", "audit"]:
                page.goto(f"{url}/#/{place}")
                expect(page.locator("main .error").last).to_contain_text(f"the token has the role {role}")


def commands_are_given_and_their_results_shown(url):
    with dashboard(url, "admin") as tab:
        page = tab.open("#/fleet?agent=web-1")
        orders = page.get_by_role("region", name="Commands", exact=True)
        given = orders.get_by_role("region", name="Commands given").locator("tbody tr")
        choice = orders.get_by_label("Command", exact=True)
        choice.select_option("hash_file")
        orders.get_by_label("Path").fill("/usr/bin/<b>id</b>")
        orders.get_by_role("button", name="Give").click()
        expect(given).to_have_count(1)
        expect(given.first).to_contain_text("Hash file /usr/bin/<b>id</b>")
        expect(given.first).to_contain_text("Pending")
        # Its result comes without a reload, while somebody types the next one.
        choice.select_option("quarantine")
        orders.get_by_label("Path").fill("/tmp/dropped")
        done = ask("result", agent="web-1", outcome={"status": "done"})
        assert done["command"] == {"action": "hash_file", "path": "/usr/bin/<b>id</b>"}, done
        expect(given.first).to_contain_text("Done")
        expect(orders.get_by_label("Path")).to_have_value("/tmp/dropped")
        # What changes a host is asked for; whoever thinks again has given nothing.
        orders.get_by_role("button", name="Give").click()
        asked = page.get_by_role("dialog")
        expect(asked).to_contain_text("web-1: quarantine")
        expect(asked.get_by_label("Reason")).to_be_focused()
        page.keyboard.press("Escape")
        expect(asked).to_have_count(0)
        expect(given).to_have_count(1)
        orders.get_by_role("button", name="Give").click()
        asked.get_by_role("button", name="Cancel").click()
        expect(given).to_have_count(1)
        orders.get_by_role("button", name="Give").click()
        page.evaluate("history.pushState(null, '', '#/fleet?agent=web-1&span=1h'), dispatchEvent(new PopStateEvent('popstate'))")
        expect(asked).to_have_count(0)
        expect(given).to_have_count(1)
        orders.get_by_role("button", name="Give").click()
        asked.get_by_label("Reason").fill("it was dropped there")
        page.keyboard.press("Enter")
        expect(given).to_have_count(2)
        refused = ask("result", agent="web-1", outcome={"status": "refused", "reason": "there is no such file"})
        assert refused["command"] == {"action": "quarantine", "file": {"path": "/tmp/dropped"}}, refused
        assert refused["reason"] == "it was dropped there" and refused["actor"], refused
        expect(given.first).to_contain_text("there is no such file")
        # What the control plane refuses is told where it was asked for.
        choice.select_option("kill")
        orders.get_by_label("Process id").fill("nobody")
        orders.get_by_role("button", name="Give").click()
        asked.get_by_role("button", name="Kill").click()
        expect(orders.get_by_role("alert")).to_contain_text("command")
        expect(given).to_have_count(2)

        # From the process tree of an alert: exactly that process.
        page.goto(f"{url}/#/alerts?status=any&agent=web-1")
        tab.rows().first.click()
        page.locator("[data-evidence=true] button").click()
        page.locator(".tree .about").get_by_role("button", name="Kill tree").click()
        asked.get_by_role("button", name="Kill tree").click()
        expect(page.locator(".tree .about")).to_contain_text("Kill tree: kept, and could not be sent.")
        process = page.evaluate("""async ([token, alert]) => {
            const answer = await fetch(`/api/v1/alerts/${alert}`, { headers: { Authorization: `Bearer ${token}` } });
            return (await answer.json()).process.process_id;
        }""", [tab.token, tab.parameters()["alert"]])
        killed = ask("result", agent="web-1", outcome={"status": "dry_run"})
        assert killed["command"] == {"action": "kill_tree", "process": process}, killed


def what_commands_gave_is_shown(url):
    hostile = "<img src=x onerror=window.hacked=1>\u202e"
    script = f"#!/bin/sh\n<script>window.hacked=1</script>\n{hostile}\n"
    binary = bytes(range(256)) * 4
    with dashboard(url, "admin") as tab:
        page = tab.open("#/fleet?agent=web-1")
        orders = page.get_by_role("region", name="Commands", exact=True)
        given = orders.get_by_role("region", name="Commands given").locator("tbody tr")
        one = orders.get_by_role("region", name="One command")

        def give(action, output, **inputs):
            count = given.count()
            orders.get_by_label("Command", exact=True).select_option(action)
            for label, value in inputs.items():
                orders.get_by_label(label, exact=True).fill(value)
            orders.get_by_role("button", name="Give").click()
            expect(given).to_have_count(count + 1)
            ask("result", agent="web-1", outcome={"status": "done", "output": output})
            given.first.get_by_role("button", name=re.compile("^Output: ")).click()
            expect(one.get_by_role("region", name="Output")).to_be_visible()

        def downloaded():
            with page.expect_download() as awaited:
                one.get_by_role("button", name="Download").click()
            with open(awaited.value.path(), "rb") as file:
                return awaited.value.suggested_filename, file.read()

        # Processes, to search through; who opened it stands there, and comes back to where they were.
        process = "019aa0b0-0000-8000-8000-00000000{:04x}"
        give("list_processes", {"kind": "processes", "left_out": 3, "processes": [
            {"process": process.format(7), "parent": 0, "uid": 0, "name": "kthreadd"},
            {"process": process.format(4242), "parent": 7, "uid": 33, "name": hostile, "executable": {"base64": "L3RtcC//"}},
            *({"process": process.format(10_000 + number), "parent": 1, "uid": 0, "name": f"worker-{number}", "executable": "/usr/bin/sh"}
              for number in range(400))]})
        expect(one.get_by_role("heading", name="List processes")).to_be_focused()
        rows = one.get_by_role("region", name="Processes", exact=True).locator("tbody tr")
        expect(rows).to_have_count(300)
        expect(rows.nth(0)).to_contain_text("7")
        assert rows.nth(1).locator("td").all_inner_texts() == [
            "4242", "7", "33", hostile.replace("\u202e", "\\u{202e}"), "/tmp/\ufffd", process.format(4242)]
        expect(one).to_contain_text("402 of 402 processes; there was no room for 3 more.")
        one.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(402)
        one.get_by_label("Search processes").fill("WORKER-39")
        expect(rows).to_have_count(11)
        expect(one.get_by_role("list", name="History")).to_contain_text("given by")
        page.reload()
        expect(rows).to_have_count(300)
        one.get_by_role("button", name="Close the command").click()
        expect(one).to_have_count(0)
        assert "command" not in tab.parameters()
        expect(given.first.get_by_role("button")).to_be_focused()
        given.first.get_by_role("button").click()
        page.keyboard.press("Escape")
        expect(one).to_have_count(0)
        expect(page.locator("#agent")).to_be_visible()

        # Files are text or digits here, and bytes once they are kept, under a name that nothing opens.
        give("collect_file", {"kind": "file", "content": base64.b64encode(script.encode()).decode(), "bytes": len(script.encode())},
             Path="/srv/../<b>x</b>.html")
        expect(one.get_by_label("Content", exact=True)).to_have_text(script.replace("\u202e", "\\u{202e}"))
        assert downloaded() == ("b_.html.collected", script.encode())
        give("collect_file", {"kind": "file", "content": base64.b64encode(binary).decode(), "bytes": 5000}, Path="/usr/bin/id")
        digits = one.get_by_label("Content in hexadecimal")
        expect(digits).to_contain_text("00000040  40 41 42")
        expect(digits).not_to_contain_text("00000200")
        expect(one).to_contain_text("the first 1,024 of 5,000 bytes")
        assert downloaded() == ("id.collected", binary)
        for action, output, inputs, told in [
            ("hash_file", {"kind": "digest", "sha256": "ab" * 32, "bytes": 12_345}, {"Path": "/usr/bin/id"}, "ab" * 32),
            ("reload_rules", {"kind": "rules", "rules": 1_234}, {}, "1,234"),
        ]:
            give(action, output, **inputs)
            expect(one.get_by_role("region", name="Output")).to_contain_text(told)
        for scheme, width in [("light", 1280), ("dark", 400)]:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            for number in [2, 4, 0]:
                given.nth(number).get_by_role("button").click()
                expect(one.get_by_role("region", name="Output")).to_be_visible()
                assert not (bad := look(page, "what a command gave", scheme, width)), bad

        # Why one was refused, and who has waited sees it where it is shown.
        orders.get_by_label("Command", exact=True).select_option("ping")
        orders.get_by_role("button", name="Give").click()
        expect(given).to_have_count(6)
        given.first.get_by_role("button", name=re.compile("^Details: ping")).click()
        expect(one.get_by_role("list", name="History")).to_contain_text("Pending until")
        ask("result", agent="web-1", outcome={"status": "refused", "reason": f"not here {hostile}"})
        expect(one.get_by_role("list", name="History")).to_contain_text("Refused")
        expect(one.get_by_role("list", name="History")).to_contain_text("not here <img")
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main b, main script").count() == 0
        # What is of another agent is not shown as of this one.
        other = tab.parameters()["command"]
        page.goto(f"{url}/#/fleet?agent=db-1&command={other}")
        expect(one).to_contain_text("It is for another agent.")
        # Older ones come when they are asked for.
        ask("orders", agent="db-1", count=30)
        page.reload()
        expect(given).to_have_count(20)
        orders.get_by_role("button", name="Show older ones").click()
        expect(given).to_have_count(30)

    # Who may not give such a command does not read what it gave.
    with dashboard(url, "analyst") as tab:
        page = tab.open("#/fleet?agent=web-1")
        given = page.get_by_role("region", name="Commands given").locator("tbody tr")
        given.filter(has_text="/usr/bin/id").filter(has_text="Collect file").get_by_role("button", name=re.compile("^Details")).click()
        expect(page.get_by_role("region", name="One command")).to_contain_text("takes the role admin")
        given.filter(has_text="Hash file").get_by_role("button", name=re.compile("^Output")).click()
        expect(page.get_by_role("region", name="One command")).to_contain_text("ab" * 32)


def tokens_are_made_and_taken_back(url):
    with dashboard(url, "admin") as tab:
        page = tab.open("#/access")
        page.get_by_label("Name").fill("wall <b>screen</b>")
        page.get_by_label("Role").select_option("analyst")
        page.get_by_label("Expires").select_option("30")
        page.get_by_role("button", name="Make").click()
        secret = page.locator("#secret input").input_value()
        assert secret.startswith("lvd_"), secret
        expect(page.locator("#secret")).to_contain_text("wall <b>screen</b>")
        page.get_by_role("button", name="I have kept it").click()
        expect(page.locator("#secret")).to_have_count(0)
        assert secret not in page.content()
        row = page.locator("tbody tr", has_text="wall")
        expect(row).to_contain_text("good until")

        def status():
            return page.evaluate("""async (token) =>
                (await fetch("/api/v1/session", { headers: { Authorization: `Bearer ${token}` } })).status""", secret)

        assert status() == 200
        row.get_by_role("button", name="Take back").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert status() == 200
        row.get_by_role("button", name="Take back").click()
        page.get_by_role("dialog").get_by_role("button", name="Take back").click()
        expect(row).to_contain_text("taken back")
        expect(row.get_by_role("button")).to_have_count(0)
        assert status() == 401


def what_was_changed_is_told(url):
    with dashboard(url, "admin") as tab:
        page = tab.open("#/alerts")
        tab.rows().first.click()
        page.get_by_label("Reason").fill("nothing to see")
        page.get_by_role("button", name="Dismiss").click()
        expect(page.locator(".badges")).to_contain_text("Dismissed")
        alert = tab.parameters()["alert"]
        tab.to("Audit")
        rows = page.get_by_role("region", name="Changes").last.locator("tbody tr")
        expect(rows.first).to_contain_text("nothing to see")
        expect(rows.first).to_contain_text("Alert status")
        page.get_by_label("Who").fill("nobody")
        expect(page.get_by_text("Nothing was changed.")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Who")).to_have_value("nobody")
        page.get_by_label("Who").fill("")
        expect(rows.first).to_be_visible()
        rows.first.get_by_role("link", name=alert).click()
        expect(page.locator(".badges")).to_contain_text("Dismissed")
