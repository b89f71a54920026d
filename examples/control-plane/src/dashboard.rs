//! The dashboard: files that the browser runs, built into the program, so that there is nothing to install, to build or
//! to fetch from anywhere else.

use axum::Router;
use axum::http::header;
use axum::routing::get;

/// What the pages may do: run and show what came from here, ask here. No markup of a script's making is ever read, so
/// that no name which somebody chose becomes more than a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where each file is, what it is, and what is in it.
const FILES: [(&str, &str, &[u8]); 39] = [
    ("/", HTML, include_bytes!("../ui/index.html")),
    ("/favicon.svg", SVG, include_bytes!("../ui/favicon.svg")),
    ("/theme.css", CSS, include_bytes!("../ui/theme.css")),
    ("/layout.css", CSS, include_bytes!("../ui/layout.css")),
    ("/parts.css", CSS, include_bytes!("../ui/parts.css")),
    ("/charts.css", CSS, include_bytes!("../ui/charts.css")),
    ("/access.js", SCRIPT, include_bytes!("../ui/access.js")),
    ("/actions.js", SCRIPT, include_bytes!("../ui/actions.js")),
    ("/alert.js", SCRIPT, include_bytes!("../ui/alert.js")),
    ("/alerts.js", SCRIPT, include_bytes!("../ui/alerts.js")),
    ("/api.js", SCRIPT, include_bytes!("../ui/api.js")),
    ("/app.js", SCRIPT, include_bytes!("../ui/app.js")),
    ("/audit.js", SCRIPT, include_bytes!("../ui/audit.js")),
    ("/chart.js", SCRIPT, include_bytes!("../ui/chart.js")),
    ("/command.js", SCRIPT, include_bytes!("../ui/command.js")),
    ("/commands.js", SCRIPT, include_bytes!("../ui/commands.js")),
    ("/confirm.js", SCRIPT, include_bytes!("../ui/confirm.js")),
    ("/dom.js", SCRIPT, include_bytes!("../ui/dom.js")),
    ("/events.js", SCRIPT, include_bytes!("../ui/events.js")),
    ("/fleet.js", SCRIPT, include_bytes!("../ui/fleet.js")),
    ("/format.js", SCRIPT, include_bytes!("../ui/format.js")),
    ("/health.js", SCRIPT, include_bytes!("../ui/health.js")),
    ("/help.js", SCRIPT, include_bytes!("../ui/help.js")),
    ("/kernel.js", SCRIPT, include_bytes!("../ui/kernel.js")),
    ("/list.js", SCRIPT, include_bytes!("../ui/list.js")),
    ("/live.js", SCRIPT, include_bytes!("../ui/live.js")),
    ("/output.js", SCRIPT, include_bytes!("../ui/output.js")),
    ("/overview.js", SCRIPT, include_bytes!("../ui/overview.js")),
    ("/parts.js", SCRIPT, include_bytes!("../ui/parts.js")),
    ("/refresh.js", SCRIPT, include_bytes!("../ui/refresh.js")),
    ("/role.js", SCRIPT, include_bytes!("../ui/role.js")),
    ("/route.js", SCRIPT, include_bytes!("../ui/route.js")),
    ("/rules.js", SCRIPT, include_bytes!("../ui/rules.js")),
    ("/rulesets.js", SCRIPT, include_bytes!("../ui/rulesets.js")),
    ("/search.js", SCRIPT, include_bytes!("../ui/search.js")),
    ("/signin.js", SCRIPT, include_bytes!("../ui/signin.js")),
    ("/theme.js", SCRIPT, include_bytes!("../ui/theme.js")),
    ("/timeline.js", SCRIPT, include_bytes!("../ui/timeline.js")),
    ("/tree.js", SCRIPT, include_bytes!("../ui/tree.js")),
];

/// The routes of the dashboard: its files, each as it is.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, bytes)| {
        let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
        router.route(path, get(move || async move { (headers, bytes) }))
    })
}
