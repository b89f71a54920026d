//! Rulesets: upload, list, look into one, publish, and what was published.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lavender_core::ruleset::{RuleFile, Ruleset, RulesetDigest};
use lavender_core::store::{Publication, RulesetQuery, UploadedRuleset};
use lavender_detect::{Loaded, RuleErrors};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::access::{Admin, Caller, Viewer};
use crate::extract::{Json, Path, Query, cursor, limit, named};
use crate::in_force::own_rules;
use crate::plane::ControlPlane;
use crate::problem::Problem;
use crate::rulesets::{compile, hand_over};
use crate::turns::in_turn;
use crate::view::{
    PageView, PublicationView, PublishedView, RuleFileView, RulesetDetail, RulesetView,
};

/// A file of rules that is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenFile {
    /// Its name: parts between slashes, `.yml` or `.yaml` at the end.
    #[schema(min_length = 1, max_length = 255, example = "ssh/new-key.yml")]
    name: String,
    /// Its text: Sigma, in YAML.
    text: String,
}

/// The ruleset of given files.
pub(crate) fn given(files: Vec<GivenFile>) -> Result<Ruleset, Problem> {
    let files = files.into_iter().map(|file| RuleFile::new(file.name, file.text));
    let files = files.collect::<Result<Vec<_>, _>>();
    files.and_then(Ruleset::new).map_err(|error| Problem::invalid(error.to_string()))
}

/// A ruleset that is uploaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRuleset {
    /// The files, 4,096 and 4 MiB of text at the most. None of them: a ruleset that adds nothing.
    files: Vec<GivenFile>,
    /// Why.
    #[schema(max_length = 2000)]
    reason: Option<String>,
}

fn check_reason(reason: Option<&String>) -> Result<(), Problem> {
    if reason.is_some_and(|reason| reason.chars().count() > 2_000) {
        return Err(Problem::invalid("the reason has more than 2,000 characters"));
    }
    Ok(())
}

/// Compiles a ruleset where it holds up nobody, one at a time.
pub(crate) async fn compiled(plane: &ControlPlane, rules: &Ruleset) -> Result<Loaded, Problem> {
    let rules = rules.clone();
    in_turn(plane, move || compile(&rules)).await?.map_err(|errors| refused(&errors))
}

fn refused(errors: &RuleErrors) -> Problem {
    let count = errors.faults.len();
    let detail = format!(
        "the rules are refused: {count} {}, by file and line in `errors`",
        if count == 1 { "fault" } else { "faults" }
    );
    Problem::invalid(detail).with_faults(&errors.faults)
}

/// Keeps a ruleset. It compiles, together with the rules that come with Lavender, or is refused with every fault in
/// `errors`. One that is there already is no other: its digest is that of its files. Nothing evaluates it before it is
/// published.
#[utoipa::path(post, path = "/rulesets", tag = "rules", request_body = NewRuleset,
    responses((status = 201, body = RulesetView), (status = 200, body = RulesetView)))]
pub(crate) async fn upload(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Json(new): Json<NewRuleset>,
) -> Result<(StatusCode, axum::Json<RulesetView>), Problem> {
    check_reason(new.reason.as_ref())?;
    let rules = given(new.files)?;
    compiled(&plane, &rules).await?;
    let (tenant, reason) = (&caller.tenant, new.reason.map(Into::into));
    let uploaded = UploadedRuleset::new(&rules, Arc::clone(&caller.actor), reason, plane.now());
    let is_new = plane.store().put_ruleset(tenant, &rules, &uploaded).await?;
    let (uploaded, _) = stored(&plane, &caller, rules.digest()).await?;
    let published = plane.store().published_ruleset(tenant).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(RulesetView::of(uploaded, published.as_ref()))))
}

async fn stored(
    plane: &ControlPlane,
    caller: &Caller,
    digest: RulesetDigest,
) -> Result<(UploadedRuleset, Ruleset), Problem> {
    let known = plane.store().ruleset(&caller.tenant, digest).await?;
    known.ok_or_else(|| Problem::not_found(format!("there is no ruleset {digest}")))
}

/// A ruleset of the caller's tenant, by its digest.
pub(crate) async fn find(
    plane: &ControlPlane,
    caller: &Caller,
    digest: &str,
) -> Result<(UploadedRuleset, Ruleset), Problem> {
    stored(plane, caller, named(digest)?).await
}

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The most on a page, 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

impl Paging {
    fn query(self) -> Result<RulesetQuery, Problem> {
        Ok(RulesetQuery { limit: limit(self.limit)?, after: cursor(self.after) })
    }
}

/// Rulesets, the newest upload first.
#[utoipa::path(get, path = "/rulesets", tag = "rules", params(Paging),
    responses((status = 200, body = PageView<RulesetView>)))]
pub(crate) async fn list(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<PageView<RulesetView>>, Problem> {
    let page = plane.store().rulesets(&caller.tenant, &paging.query()?).await?;
    let published = plane.store().published_ruleset(&caller.tenant).await?;
    let view = |uploaded| RulesetView::of(uploaded, published.as_ref());
    Ok(axum::Json(PageView::of(page, view)))
}

/// A ruleset, with its files and the rules in them.
#[utoipa::path(get, path = "/rulesets/{digest}", tag = "rules",
    params(("digest" = String, Path, description = "The ruleset's digest")),
    responses((status = 200, body = RulesetDetail)))]
pub(crate) async fn get(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Path(digest): Path<String>,
) -> Result<axum::Json<RulesetDetail>, Problem> {
    let (uploaded, rules) = find(&plane, &caller, &digest).await?;
    let published = plane.store().published_ruleset(&caller.tenant).await?;
    let loaded = compiled(&plane, &rules).await?.rules;
    Ok(axum::Json(RulesetDetail {
        ruleset: RulesetView::of(uploaded, published.as_ref()),
        files: rules.files().iter().map(RuleFileView::from).collect(),
        rules: own_rules(&loaded),
    }))
}

/// That a ruleset is to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPublication {
    /// The revision that is published now, as the caller knows it; 0 where nothing is.
    revision: u64,
    /// Why.
    #[schema(max_length = 2000)]
    reason: Option<String>,
}

/// Publishes a ruleset: from now on it is what is added to the rules that come with Lavender and to those that a host or
/// a worker has in its own files; a rule in it takes the place of one with the same id. What was published before is not
/// used any more. 409 where somebody else has published since.
#[utoipa::path(post, path = "/rulesets/{digest}/publish", tag = "rules",
    params(("digest" = String, Path, description = "The ruleset's digest")),
    request_body = NewPublication, responses((status = 200, body = PublishedView)))]
pub(crate) async fn publish(
    State(plane): State<ControlPlane>,
    Admin(caller): Admin,
    Path(digest): Path<String>,
    Json(new): Json<NewPublication>,
) -> Result<axum::Json<PublishedView>, Problem> {
    check_reason(new.reason.as_ref())?;
    let (uploaded, rules) = find(&plane, &caller, &digest).await?;
    // What was uploaded long ago may not go with the rules that come with Lavender by now.
    compiled(&plane, &rules).await?;
    let publication = Publication {
        revision: new.revision.saturating_add(1),
        digest: uploaded.digest,
        actor: Arc::clone(&caller.actor),
        reason: new.reason.map(Into::into),
        at: plane.now(),
    };
    // Kept and audited first: nobody evaluates what nobody knows of.
    plane.store().publish_ruleset(&caller.tenant, &publication).await?;
    let taken = hand_over(&plane, &caller.tenant, &publication, &rules).await;
    Ok(axum::Json(PublishedView {
        sent: matches!(taken, Some(Ok(()))),
        failure: taken.and_then(Result::err).map(|error| error.to_string()),
        publication: publication.into(),
    }))
}

/// What was published, newest first: the first is what is published now.
#[utoipa::path(get, path = "/rules/publications", tag = "rules", params(Paging),
    responses((status = 200, body = PageView<PublicationView>)))]
pub(crate) async fn publications(
    State(plane): State<ControlPlane>,
    Viewer(caller): Viewer,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<PageView<PublicationView>>, Problem> {
    let page = plane.store().publications(&caller.tenant, &paging.query()?).await?;
    Ok(axum::Json(PageView::of(page, PublicationView::from)))
}
