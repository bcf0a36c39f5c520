//! The admin calls on dead letters: list, replay, drop. Touches the dead letters of the streams that the service names; a
//! replay adds to their source stream.
//!
//! A replayed entry goes to every group of its stream, with a delivery count of its own. Replay and drop may be repeated
//! after a lost answer, which is 504: what was done is then answered with 404, and nothing is done twice.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use shopwright_streams::{
    EntryId, Shared,
    dead_letter::{self, DeadLetter},
};

use crate::{AdminAuthorization, AdminKey, ApiError, Json, Path, Query};

const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

/// One stream of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The stream's name in the API, a word such as `events`.
    pub word: &'static str,
    /// Key of the source stream; the service must be allowed to add to it.
    pub stream: String,
    /// The group whose dead letters these are.
    pub group: String,
}

impl Source {
    fn key(&self) -> String {
        dead_letter::key(&self.stream, &self.group)
    }
}

#[derive(Clone)]
struct Letters {
    sources: Arc<[Source]>,
    redis: Shared,
    admin_key: AdminKey,
}

impl FromRef<Letters> for AdminKey {
    fn from_ref(letters: &Letters) -> Self {
        letters.admin_key.clone()
    }
}

impl Letters {
    fn source(&self, word: &str) -> Result<&Source, ApiError> {
        let mut sources = self.sources.iter();
        sources
            .find(|source| source.word == word)
            .ok_or_else(|| ApiError::not_found("stream of dead letters"))
    }

    /// The source and the id of a letter that is there. What is not is 404, and so is a text that is no id.
    ///
    /// It also is what notices a connection that Redis closed at rest, which a write must not be the first to do.
    async fn find(&self, word: &str, id: &str) -> Result<(&Source, EntryId), ApiError> {
        let source = self.source(word)?;
        let no_letter = || ApiError::not_found("dead letter");
        let id: EntryId = id.parse().map_err(|_| no_letter())?;
        let before = before(id).ok_or_else(no_letter)?;
        let found = dead_letter::list(&self.redis, &source.key(), before, 1).await?;
        let is_there = found.first().is_some_and(|letter| letter.id == id);
        is_there.then_some((source, id)).ok_or_else(no_letter)
    }
}

/// The routes, for whoever has the admin key:
/// - `GET BASE?stream=&limit=&after=` lists letters, oldest first, of every stream or of one. `limit` is 1 to 100, 20 if
///   not given; `after` is the id behind which to go on, `next_cursor` of the page before.
/// - `POST BASE/{stream}/{id}/replay` adds the entry to its stream again and removes the letter. 204, or 404.
/// - `DELETE BASE/{stream}/{id}` removes it for good. 204, or 404.
///
/// Commands used: those of `shopwright_streams::dead_letter`.
pub fn router(base: &str, sources: Vec<Source>, redis: Shared, admin_key: AdminKey) -> Router {
    Router::new()
        .route(base, get(list))
        .route(&format!("{base}/{{stream}}/{{id}}"), delete(drop))
        .route(&format!("{base}/{{stream}}/{{id}}/replay"), post(replay))
        .with_state(Letters {
            sources: sources.into(),
            redis,
            admin_key,
        })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    stream: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct Page {
    items: Vec<LetterView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A dead letter as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterView {
    /// Its id, whose first part is the time at which it was given up, in milliseconds.
    pub id: String,
    /// The stream's word.
    pub stream: String,
    /// Why it was given up: a fixed word.
    pub reason: String,
    /// The id it had in its stream, whose first part is the time at which it was added.
    pub entry: String,
    /// How often it had been delivered.
    pub deliveries: u64,
    /// Who had it last.
    pub consumer: String,
    /// Its field of this name. Bytes that are no text are shown as U+FFFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Its field of this name, as `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl LetterView {
    fn new(word: &str, letter: &DeadLetter) -> Self {
        let text = |name: &str| {
            let mut fields = letter.fields.iter();
            let (_, value) = fields.find(|(field, _)| field == name.as_bytes())?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        Self {
            id: letter.id.to_string(),
            stream: word.to_owned(),
            reason: letter.reason.clone(),
            entry: letter.entry.to_string(),
            deliveries: letter.deliveries,
            consumer: letter.consumer.clone(),
            r#type: text("type"),
            data: text("data"),
        }
    }
}

async fn list(
    _: AdminAuthorization,
    State(letters): State<Letters>,
    Query(query): Query<ListQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(ApiError::query_invalid(format!(
            "limit is between 1 and {LARGEST_LIMIT}."
        )));
    }
    let after = query.after.as_deref().map_or(Ok(EntryId::ZERO), str::parse);
    let after = after.map_err(|_| ApiError::query_invalid("after is the id of a dead letter."))?;
    let sources = match &query.stream {
        Some(word) => std::slice::from_ref(
            letters
                .source(word)
                .map_err(|_| ApiError::query_invalid("stream is none of this service's."))?,
        ),
        None => &letters.sources,
    };
    let mut found: Vec<(&str, DeadLetter)> = Vec::new();
    for source in sources {
        // One more than asked for tells whether there is another page.
        let more = dead_letter::list(&letters.redis, &source.key(), after, limit + 1).await?;
        found.extend(more.into_iter().map(|letter| (source.word, letter)));
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page(found, limit))))
}

/// The first `limit`, oldest first. Those of two streams may have the same id, behind which the next page begins: they stay
/// on one page, even if that is one more than the limit.
fn page(mut found: Vec<(&str, DeadLetter)>, limit: usize) -> Page {
    found.sort_by_key(|(_, letter)| letter.id);
    let last = found.get(limit.saturating_sub(1)).map(|(_, letter)| letter.id);
    let end = last.map_or(found.len(), |last| {
        found.partition_point(|(_, letter)| letter.id <= last)
    });
    Page {
        next_cursor: last.filter(|_| end < found.len()).map(|last| last.to_string()),
        items: found[..end]
            .iter()
            .map(|(word, letter)| LetterView::new(word, letter))
            .collect(),
    }
}

async fn replay(
    _: AdminAuthorization,
    State(letters): State<Letters>,
    Path((word, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (source, id) = letters.find(&word, &id).await?;
    let replayed = dead_letter::replay(&letters.redis, &source.stream, &source.key(), id).await;
    done("replayed", replayed, source, id)
}

async fn drop(
    _: AdminAuthorization,
    State(letters): State<Letters>,
    Path((word, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (source, id) = letters.find(&word, &id).await?;
    let dropped = dead_letter::drop(&letters.redis, &source.key(), id).await;
    done("dropped", dropped, source, id)
}

fn done(
    what: &'static str,
    is_done: Result<bool, shopwright_streams::Error>,
    source: &Source,
    id: EntryId,
) -> Result<StatusCode, ApiError> {
    if !is_done.map_err(ApiError::of_stream_write)? {
        // Somebody else was quicker.
        return Err(ApiError::not_found("dead letter"));
    }
    tracing::info!(what, stream = %source.stream, group = %source.group, %id, "dead letter done with");
    Ok(StatusCode::NO_CONTENT)
}

/// The id right before another; none before the first.
fn before(id: EntryId) -> Option<EntryId> {
    match (id.milliseconds, id.sequence) {
        (0, 0) => None,
        (milliseconds, 0) => Some(EntryId {
            milliseconds: milliseconds - 1,
            sequence: u64::MAX,
        }),
        (milliseconds, sequence) => Some(EntryId {
            milliseconds,
            sequence: sequence - 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(milliseconds: u64, sequence: u64) -> DeadLetter {
        DeadLetter {
            id: EntryId { milliseconds, sequence },
            reason: String::new(),
            entry: EntryId::ZERO,
            deliveries: 1,
            consumer: String::new(),
            fields: Vec::new(),
        }
    }

    #[test]
    fn letters_of_the_same_id_stay_on_one_page() {
        let all = [("a", 1, 0), ("a", 2, 0), ("b", 2, 0), ("a", 2, 1), ("b", 3, 0)];
        let mut after = EntryId::ZERO;
        let mut pages = Vec::new();
        loop {
            let behind = all
                .iter()
                .map(|(word, milliseconds, sequence)| (*word, letter(*milliseconds, *sequence)));
            let page = page(behind.filter(|(_, letter)| letter.id > after).collect(), 2);
            pages.push(
                page.items
                    .iter()
                    .map(|item| format!("{} {}", item.stream, item.id))
                    .collect::<Vec<_>>(),
            );
            let Some(cursor) = page.next_cursor else { break };
            after = cursor.parse().unwrap();
        }
        assert_eq!(pages, [vec!["a 1-0", "a 2-0", "b 2-0"], vec!["a 2-1", "b 3-0"]]);
    }

    #[test]
    fn nothing_lies_between_an_id_and_the_one_before() {
        assert_eq!(before(EntryId::ZERO), None);
        assert_eq!(before(letter(3, 2).id), Some(letter(3, 1).id));
        assert_eq!(before(letter(3, 0).id), Some(letter(2, u64::MAX).id));
    }
}
