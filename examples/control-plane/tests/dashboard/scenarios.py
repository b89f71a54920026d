"""What people do with the dashboard. `scenarios.py SCENARIO URL` runs one."""

import json
import re
import sys

# What admins do, and events; found by name below.
from administration import (  # noqa: F401
    commands_are_given_and_their_results_shown, tokens_are_made_and_taken_back, what_a_role_may_not_do_is_not_offered,
    what_commands_gave_is_shown, what_was_changed_is_told,
)
from events import (  # noqa: F401
    events_are_shown_as_they_happen, stored_events_are_searched, what_the_kernel_numbers_is_shown_in_words,
)
from page import PAGES, ask, dashboard, look
from playwright.sync_api import expect


def who_has_no_token_is_asked_for_one(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts", signed_in=False)
        token = page.get_by_label("Token")
        expect(token).to_be_focused()
        for wrong in ["lvd_nothing", "kein Schlüssel ☃", tab.token[:-1] + "x"]:
            token.fill(wrong)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("alert")).to_contain_text("token")
        token.fill(tab.token)
        token.press("Enter")
        # Where they wanted to go, and after a reload, too.
        for _ in range(2):
            expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
            expect(tab.rows().first).to_be_visible()
            page.reload()
        assert page.evaluate("token => JSON.stringify({ ...localStorage }).includes(token) || document.cookie", tab.token) in (False, "")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Token")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def an_alert_appears_without_a_reload(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts")
        expect(tab.rows().first).to_be_visible()
        loads = tab.loads
        for _ in range(3):
            alert = ask("act")
            expect(tab.rows().first).to_contain_text(alert["title"])
            expect(tab.rows().first).to_contain_text(alert["host"])
            expect(page.locator("#say")).to_contain_text(alert["title"])
        tab.to("Overview")
        total = page.locator(".tile", has_text="Alerts").locator(".figure")
        expect(total).to_have_text("23")
        ask("act")
        expect(total).to_have_text("24")
        assert tab.loads == loads, "it was loaded again"


def an_alert_is_worked_on_by_keys(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts")
        expect(tab.rows()).to_have_count(12)
        page.keyboard.press("j")
        page.keyboard.press("j")
        chosen = page.locator(".list-row[aria-selected=true]")
        expect(chosen).to_have_attribute("aria-posinset", "2")
        page.keyboard.press("k")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        detail = page.get_by_role("complementary", name="Alert")
        expect(detail.get_by_role("heading").first).to_have_text(chosen.locator(".title").inner_text())
        alert = tab.parameters()["alert"]

        # The tree: what led to it and what came of it, the evidence marked.
        tree = detail.get_by_role("region", name="Process tree")
        expect(tree.locator(".process")).to_have_count(6)
        names = tree.locator(".process .name").all_inner_texts()
        assert names[:3] == ["systemd", "sshd", "bash"] and "id" in names and "ls" in names, names
        evidence = tree.locator("[data-evidence=true]")
        expect(evidence).to_have_count(1)
        expect(evidence).to_contain_text("evidence")
        assert tree.locator(".branches path").count() == 5
        evidence.get_by_role("button").click()
        expect(tree.locator(".about")).to_contain_text("Directory")
        for place in (tree.locator(".about"), detail.locator(".facts").first):
            expect(place).to_contain_text("web (0123456789ab)")
            expect(place).to_contain_text("nginx:1.27")
        detail.get_by_text("Raw event").click()
        raw = json.loads(detail.locator(".raw pre").inner_text())
        assert raw["kind"] == "exec" and raw["process"]["ancestors"], raw

        # What was decided is kept, with its reason; what is decided leaves the list of open alerts.
        page.keyboard.press("a")
        expect(detail.locator(".badges")).to_contain_text("Acknowledged")
        expect(tab.rows()).to_have_count(11)
        detail.get_by_label("Reason").fill("it was the <b>nightly</b> job")
        detail.get_by_label("Reason").press("Escape")
        page.keyboard.press("r")
        expect(detail.locator(".badges")).to_contain_text("Resolved")
        expect(detail.locator(".history")).to_contain_text("it was the <b>nightly</b> job")
        now = ask("status", id=alert)
        assert now == {"status": "resolved", "reasons": [None, "it was the <b>nightly</b> job"]}, now
        page.keyboard.press("o")
        expect(tab.rows()).to_have_count(12)
        page.keyboard.press("Escape")
        expect(detail).to_be_hidden()
        assert "alert" not in tab.parameters()

        # The next one, without opening it.
        page.keyboard.press("j")
        page.keyboard.press("d")
        expect(tab.rows()).to_have_count(11)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


def what_is_shown_survives_a_reload(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts")
        page.get_by_label("Severity").select_option("high")
        page.get_by_label("When").select_option("24h")
        page.get_by_label("Technique").fill("T1505")
        expect(tab.rows().first.locator(".technique")).to_have_text("T1505.003")
        expect(page.locator(".list-row .technique", has_not_text="T1505.003")).to_have_count(0)
        tab.rows().first.click()
        shown = page.get_by_role("complementary", name="Alert")
        expect(shown.get_by_role("heading").first).to_have_text("Shell Spawned by a Web Server")
        count = tab.rows().count()
        before = tab.parameters()
        assert before.keys() == {"severity", "span", "technique", "alert"}, before
        page.reload()
        assert tab.parameters() == before
        expect(page.get_by_label("Severity")).to_have_value("high")
        expect(page.get_by_label("When")).to_have_value("24h")
        expect(page.get_by_label("Technique")).to_have_value("T1505")
        expect(tab.rows()).to_have_count(count)
        expect(shown.get_by_role("heading").first).to_have_text("Shell Spawned by a Web Server")
        expect(page.locator(".list-row[aria-selected=true]")).to_have_attribute("aria-posinset", "1")
        # Every step back leads where they were.
        page.go_back()
        expect(shown).to_be_hidden()
        tab.to("Fleet")
        page.get_by_label("When").select_option("7d")
        page.locator(".agent-row").first.click()
        page.reload()
        expect(page.get_by_label("When")).to_have_value("7d")
        expect(page.locator("#agent")).to_be_visible()


def a_cut_stream_goes_on_where_it_was(url):
    with dashboard(url) as tab:
        place = ask("place")["id"]
        asked = []

        def live(route):
            asked.append(route.request.headers.get("last-event-id"))
            if len(asked) > 1:
                return route.continue_()
            # One that ends right after its first message; what happens now is behind that place.
            route.fulfill(content_type="text/event-stream", body=f"event: ready\ndata: {{}}\nid: {place}\n\n")

        tab.page.route(re.compile("/api/v1/live"), live)
        tab.page.route(re.compile("/api/v1/alerts\\?"), lambda route: (route.continue_()))
        tab.open("#/alerts")
        expect(tab.rows()).to_have_count(3)
        assert asked == [None, place], asked
        alert = ask("act")
        expect(tab.rows().first).to_contain_text(alert["title"])
        expect(tab.rows()).to_have_count(4)


def hostile_names_stay_text(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts")
        expect(tab.rows()).to_have_count(1)
        hostile = ask("hostile")
        title = tab.rows().first.locator(".title")
        expect(title).to_have_text(hostile["text"])
        tab.rows().first.click()
        detail = page.get_by_role("complementary", name="Alert")
        expect(detail.get_by_role("heading").first).to_have_text(hostile["text"])
        expect(detail.locator(".tree .process").first).to_be_visible()
        detail.locator("[data-evidence=true] button").click()
        detail.get_by_text("Raw event").click()
        expect(detail.locator(".raw pre")).to_contain_text("onerror")
        for name in PAGES:
            page.goto(f"{url}/#/{name}")
            expect(page.locator("h1")).to_be_visible()
            expect(page.locator("[aria-busy]")).to_have_count(0)
        for place in ["#/alerts?status=any&technique=<img src=x onerror=hacked=1>", "#/<img src=x>", "#/fleet?agent=<b>&span=<b>",
                      "#/rules?rule=<b>x</b>&severity=<b>", "#/constructor", "#/alerts?status=any&span=constructor"]:
            page.goto(f"{url}/{place}")
            expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main b").count() == 0


def agents_that_fall_silent_are_seen(url):
    with dashboard(url) as tab:
        page = tab.open("#/fleet")

        def heard_until(place, text):
            """Agents are heard until the page shows it, however slow it is."""
            for _ in range(120):
                count = ask("heard")["agents"]
                if text.format(count) in place.inner_text():
                    return count
                page.wait_for_timeout(500)
            raise AssertionError(f"{text} did not come: {place.inner_text()}")

        states = page.locator(".legend")
        expect(states).to_be_visible()
        count = heard_until(states, "Online {}")
        # Nobody says anything any more.
        expect(states).to_contain_text(f"Offline {count}")
        falls = page.locator(".falls")
        expect(falls).to_contain_text(f"{count} agents went offline at once")
        expect(page.get_by_role("img", name=re.compile(f"Now 0 online, 0 degraded, {count} offline"))).to_be_visible()
        page.locator(".agent-row").first.click()
        expect(page.locator("#agent")).to_contain_text("Silent")
        # Not before the time that was configured, and not long after it.
        silent = page.evaluate("""async (token) => {
            const ask = async (route) => (await fetch(`/api/v1/${route}`, { headers: { Authorization: `Bearer ${token}` } })).json();
            const [agents, changes] = await Promise.all([ask("agents?limit=200"), ask("transitions?limit=200")]);
            return agents.items.map((agent) => {
                const gone = changes.items.find((change) => change.agent === agent.agent && change.to === "offline");
                return (Date.parse(gone.at) - Date.parse(agent.last_seen)) / 1000;
            });
        }""", tab.token)
        assert all(4 <= seconds < 14 for seconds in silent), silent
        heard_until(falls, "Back since: {}")
        expect(page.get_by_role("region", name="Capabilities")).to_contain_text("file_open")


def who_lags_behind_is_seen(url):
    with dashboard(url) as tab:
        page = tab.open("#/fleet")
        used = page.get_by_role("region", name="Published rules in use").first
        expect(used).to_contain_text("No rules were published yet.")
        hostile = "<img src=x onerror=window.hacked=1>"
        ask("rules", revisions=3)
        ask("beats", beats=[
            {"canary": {"seen": 5, "last_seen_at": 1_700_000_000_000_000_000, "latency_ms": 31},
             "ruleset": {"in_use": {"revision": 3, "digest": "00" * 32}}, "commands": {"admitted": 7, "refused": {
                "forged": 5, "replayed": 4, "expired": 3, "wrong_tenant": 2, "wrong_agent": 1}}},
            {"ruleset": {"in_use": {"revision": 2, "digest": "00" * 32}, "fault": hostile},
             "canary": {"missing": {"since": 1_700_000_000_000_000_000, "kinds": ["file_open", "exec"], "fault": hostile}},
             "spool": {"bytes": 5000, "waiting": 12, "shed": 9, "fault": "the broker is away"}},
            {"ruleset": {}, "isolated": True, "filtered": {"file_open": 12_000, "net_connect": 7}, "throttled": {"file_open": 70},
             "unhashed": {"gone": 2, "too_large": 3}, "undescribed": {"not_found": 4},
             "prevention": {"rules": 3, "acts": 1_200, "untold": 7, "spared": 2, "missed": 0, "unavailable": {"prevent_open": hostile}}},
            {},
        ])
        page.reload()
        rows = used.get_by_role("region").locator("tbody tr")
        expect(rows).to_have_count(3)
        for number, parts in enumerate([("revision 3, the newest", "1: web-1"), ("revision 2, behind 3", "1: db-1", hostile),
                                        ("none, behind 3", "1: build-1")]):
            for part in parts:
                expect(rows.nth(number)).to_contain_text(part)
        for agent, mark in [("web-1", "rev 3"), ("db-1", "rev 2, behind"), ("build-1", "rev 0, behind"), ("mail-1", "")]:
            expect(page.locator(".agent-row", has_text=agent).locator(".revision")).to_have_text(mark)
        page.locator(".agent-row", has_text="web-1").click()
        shown = page.locator("#agent")
        expect(shown).to_contain_text("seen in 31 ms")
        refused = shown.get_by_role("region", name="Commands refused since it started").locator("tbody tr")
        expect(refused).to_have_count(5)
        for why, count in [("Forged", 5), ("Replayed", 4), ("Expired", 3), ("Wrong tenant", 2), ("Wrong agent", 1)]:
            expect(refused.filter(has_text=why).get_by_role("cell").last).to_have_text(str(count))
        assert not (bad := look(page, "what an agent refused", "light", 1280)), bad
        expect(page.locator(".agent-row", has_text="isolated")).to_have_count(1)
        expect(page.locator(".agent-row", has_text="isolated")).to_contain_text("build-1")
        page.goto(f"{url}/#/fleet?agent=build-1")
        for text in ("Isolated: cut off", "12,007: file_open 12,000, net_connect 7", "70: file_open 70", "5: too_large 3, gone 2",
                     "4: not_found 4", "3 rules; 1,200 prevented; 7 of them not told one by one; 2 let go: protected",
                     f"Prevent open: {hostile}"):
            expect(shown).to_contain_text(text)
        assert not (bad := look(page, "an agent that is isolated", "dark", 1280)), bad
        page.goto(f"{url}/#/overview")
        expect(page.get_by_role("link", name="Agents online")).to_contain_text("1 isolated")
        page.goto(f"{url}/#/fleet?agent=db-1")
        expect(shown).to_contain_text("revision 2, behind 3")
        expect(shown).to_contain_text("the broker is away")
        expect(shown).to_contain_text(re.compile(f"not seen since .*: File open, Exec *{re.escape(hostile)}"))
        expect(shown).to_contain_text("12 messages, 5,000 bytes")
        page.set_viewport_size({"width": 400, "height": 900})
        assert not (bad := look(page, "an agent that lags behind", "light", 400)), bad
        assert page.evaluate("window.hacked") is None and page.locator("main img").count() == 0


RULE = """title: Somebody reads secrets
id: 11111111-1111-4111-8111-111111111111
logsource: {product: linux, category: process_creation}
detection: {s: {CommandLine|contains: /etc/shadow}, condition: s}
level: high
"""


def rules_are_uploaded_tested_and_published(url):
    with dashboard(url, "admin") as tab:
        page = tab.open("#/rules")
        own = page.get_by_role("region", name="Your rules")
        expect(own.get_by_text("No rules were uploaded yet.")).to_be_visible()
        files = own.get_by_label("Rule files")

        def choose(**texts):
            files.set_input_files([{"name": f"{name}.yml", "mimeType": "text/yaml", "buffer": text.encode()}
                                   for name, text in texts.items()])

        def press(name):
            own.get_by_role("button", name=name).focus()
            page.keyboard.press("Enter")

        # Every fault is told by its file and line, and nothing is kept.
        choose(good=RULE, bad=RULE.replace("contains", "contain").replace("1111-4111", "2222-4111"), worse="title: <b>x</b>\n")
        for button in ["Test", "Upload"]:
            press(button)
            faults = own.get_by_role("region", name="Faults")
            expect(faults.get_by_role("row").filter(has_text="bad.yml")).to_contain_text("`contain`")
            expect(faults.get_by_role("row").filter(has_text="bad.yml").get_by_role("cell").nth(1)).to_have_text("4")
            expect(faults).to_contain_text("worse.yml")
            expect(faults).not_to_contain_text("good.yml")
            expect(own.get_by_role("alert")).to_contain_text("refused")
        assert page.locator("main b").count() == 0
        expect(own.get_by_text("No rules were uploaded yet.")).to_be_visible()

        choose(good=RULE)
        expect(own.get_by_role("region", name="Faults")).to_have_count(0)
        press("Test")
        expect(own.get_by_text(re.compile("^[1-9][0-9]* matches in [0-9,]+ events: all that are stored"))).to_be_visible()
        expect(own.get_by_role("region", name="Matches", exact=True)).to_contain_text("/etc/shadow")
        own.get_by_label("Reason").fill("what was seen on Monday")
        press("Upload")
        first = own.get_by_role("region", name="Rulesets").get_by_role("row").nth(1)
        expect(first).to_contain_text("what was seen on Monday")
        press(re.compile("^Publish "))
        expect(own.get_by_text(re.compile("^Published, and"))).to_be_visible()
        expect(first).to_contain_text("Published")
        history = own.get_by_role("region", name="Published").get_by_role("row")
        expect(history).to_have_count(2)
        expect(history.nth(1)).to_contain_text("what was seen on Monday")
        assert ask("published") == {"revision": 1, "reason": "what was seen on Monday"}
        # It is in force, which the list of rules says, too.
        listed = page.get_by_role("region", name="Rules", exact=True).get_by_role("listitem")
        page.get_by_label("From").select_option("published")
        expect(listed).to_have_count(1)
        expect(listed).to_contain_text("Somebody reads secrets")
        expect(listed).to_contain_text("Published, revision 1")
        expect(page.get_by_text("revision 1 is published.")).to_be_visible()
        page.get_by_label("From").select_option("bundled")
        expect(listed.filter(has_text="Published")).to_have_count(0)
        expect(listed.first).to_contain_text("Bundled")

        # Another set, which somebody else publishes first.
        choose(good=RULE, other=RULE.replace("1111-4111", "2222-4111"))
        press("Upload")
        expect(own.get_by_role("region", name="Rulesets").get_by_role("row")).to_have_count(3)
        ask("publish")
        press(re.compile("^Publish "))
        expect(own.get_by_role("alert")).to_contain_text("revision 2")
        page.reload()
        expect(history).to_have_count(3)
        press(re.compile("^Publish "))
        expect(history).to_have_count(4)
        for scheme, width in [("light", 1280), ("dark", 400)]:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            own.get_by_role("button", name=re.compile("^Test [0-9a-f]")).first.click()
            expect(own.get_by_role("region", name="Matches", exact=True)).to_be_visible()
            assert not (bad := look(page, "rules of one's own", scheme, width)), bad


def those_who_cannot_see_it_can_use_it(url):
    for scheme, width in [("light", 1280), ("dark", 400)]:
        with dashboard(url, "admin", color_scheme=scheme, viewport={"width": width, "height": 900}) as tab:
            page = tab.open()

            for place in PAGES:
                page.goto(f"{url}/#/{place}")
                if place == "events":
                    ask("act")
                    expect(tab.rows().first).to_be_visible()
                assert not (bad := look(page, place, scheme, width)), bad
            page.goto(f"{url}/#/alerts")
            tab.rows().first.click()
            expect(page.locator(".tree .process").first).to_be_visible()
            assert not (bad := look(page, "an alert", scheme, width)), bad
            page.goto(f"{url}/#/fleet?agent=db-1")
            expect(page.locator("#agent")).to_be_visible()
            expect(page.get_by_role("form", name="Give a command")).to_be_visible()
            assert not (bad := look(page, "an agent", scheme, width)), bad
            page.get_by_label("Command", exact=True).select_option("isolate")
            page.get_by_role("button", name="Give").click()
            expect(page.get_by_role("dialog")).to_be_visible()
            assert not (bad := look(page, "asked before it is done", scheme, width)), bad
            page.keyboard.press("Escape")
            page.goto(f"{url}/#/access")
            page.get_by_label("Name").fill("wall")
            page.get_by_role("button", name="Make").click()
            expect(page.locator("#secret")).to_be_visible()
            assert not (bad := look(page, "a new token", scheme, width)), bad
            page.keyboard.press("?")
            assert not (bad := look(page, "keys", scheme, width)), bad
            page.keyboard.press("Escape")
            # That it would find something:
            page.evaluate("document.querySelector('h1').style.color = 'rgb(128 128 128 / 30%)'")
            assert look(page, "on purpose", scheme, width), "axe finds nothing, whatever is there"
            page.get_by_role("button", name="Sign out").click()
            assert not (bad := look(page, "signed out", scheme, width)), bad


def a_list_of_any_length_draws_what_can_be_seen(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts?status=any")
        expect(tab.rows().first).to_be_visible()
        told = page.locator(".list-box > p")
        for pages in range(2, 12):
            page.get_by_role("listbox").press("End")
            expect(told).to_have_text(f"{pages * 200} and more")
        chosen = page.locator(".list-row[aria-selected=true]")
        page.get_by_role("listbox").press("End")
        expect(chosen).to_be_in_viewport()
        assert tab.rows().count() < 80, "it draws what nobody sees"
        # And were all of them loaded:
        drawn = page.evaluate("""async () => {
            const { VirtualList } = await import("/list.js");
            const { el } = await import("/dom.js");
            const items = Array.from({ length: 100_000 }, (_, index) => ({ id: index }));
            const list = new VirtualList({ label: "x", key: (item) => item.id, rowHeight: () => 50, row: (item) => el("div", {}, String(item.id)) });
            document.querySelector("main").replaceChildren(list.element);
            list.element.style.height = "500px";
            list.set(items);
            list.select(99_999);
            await new Promise((done) => setTimeout(done, 100));
            return [...list.element.querySelectorAll(".list-row")].map((row) => row.textContent);
        }""")
        assert len(drawn) < 40 and drawn[-1] == "99999", drawn


def the_live_agent_is_shown(url):
    with dashboard(url) as tab:
        page = tab.open("#/alerts")
        expect(page.locator(".list-box > p")).to_have_text("No alerts here.")
        loads = tab.loads
        attack = ask("attack")
        row = page.locator(".list-row", has_text=attack["title"]).first
        expect(row).to_contain_text(attack["program"])
        row.click()
        detail = page.get_by_role("complementary", name="Alert")
        expect(detail.locator("[data-evidence=true] .name")).to_have_text([attack["program"]])
        expect(detail.get_by_text(re.compile(r"/evidence/.*\.lavcap$"))).to_be_visible()
        detail.get_by_text("Raw event").click()
        expect(detail.locator(".raw pre").first).to_contain_text("etc/shadow")
        detail.get_by_label("Reason").fill("this test")
        detail.get_by_role("button", name="Acknowledge").click()
        expect(detail.locator(".badges")).to_contain_text("Acknowledged")
        tab.to("Fleet")
        expect(page.locator(".agent-row")).to_have_count(1)
        expect(page.locator(".agent-row")).to_contain_text("Online")
        expect(page.get_by_role("region", name="Capabilities")).to_contain_text("file_open")
        tab.to("Events")
        page.get_by_label("Kind").select_option("exec")
        expect(page.locator(".state")).to_have_attribute("data-state", "live")
        ask("attack")
        expect(page.locator(".list-row", has_text=attack["program"]).first).to_be_visible()
        tab.to("Rules")
        expect(page.locator(".rules").get_by_text(attack["title"])).to_be_visible()
        tab.to("Overview")
        expect(page.locator(".bars", has_text=attack["title"])).to_be_visible()
        assert tab.loads == loads, "it was loaded again"


def the_live_agent_is_gone(url):
    with dashboard(url) as tab:
        page = tab.open("#/fleet?agent=test-agent")
        expect(page.locator(".agent-row")).to_contain_text("Offline")
        expect(page.locator("#agent")).to_contain_text("Silent")
        tab.to("Alerts")
        page.get_by_label("Status").select_option("acknowledged")
        expect(tab.rows().first).to_be_visible()
        tab.rows().first.click()
        expect(page.locator(".history")).to_contain_text("this test")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
