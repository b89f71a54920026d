"""What admins do with the dashboard: commands, tokens, the audit log; and what others are not offered."""

import re

from page import ask, dashboard
from playwright.sync_api import expect


def what_a_role_may_not_do_is_not_offered(url):
    for role, offered in [("viewer", []), ("analyst", ["ping", "list_processes", "hash_file"])]:
        with dashboard(url, role) as tab:
            page = tab.open("#/fleet?agent=web-1")
            pages = page.get_by_role("navigation").get_by_role("link")
            expect(page.get_by_role("button", name="Sign out")).to_have_attribute("title", re.compile(role))
            assert pages.all_inner_texts() == ["Overview", "Alerts", "Fleet", "Live events", "Rules"]
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
