//! Reads streams. Touches Redis.

use std::collections::HashMap;

use redis::Value;

use crate::connection::{Books, Place, VerifyError};

/// Events read with one call.
pub(crate) const PAGE: usize = 1_000;
/// Before every entry.
pub(crate) const START: &str = "0-0";

/// An entry of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    fields: HashMap<String, Value>,
}

impl Event {
    /// A field, where it is there and text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        redis::from_redis_value_ref(self.fields.get(name)?).ok()
    }
}

/// The id of the newest entry.
pub(crate) async fn newest(books: &mut Books, stream: &str) -> Result<Option<String>, VerifyError> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(stream).arg(&["+", "-", "COUNT", "1"]);
    let newest: Vec<(String, Value)> = books.ask(Place::Shop, &command).await?;
    Ok(newest.into_iter().next().map(|(id, _)| id))
}

/// The entries behind one, up to another (`+` for the last): the first [`PAGE`] of them.
pub(crate) async fn page(
    books: &mut Books,
    stream: &str,
    behind: &str,
    until: &str,
) -> Result<Vec<Event>, VerifyError> {
    let mut command = redis::cmd("XRANGE");
    command.arg(stream).arg(format!("({behind}")).arg(until);
    command.arg("COUNT").arg(PAGE);
    let entries: Vec<(String, HashMap<String, Value>)> = books.ask(Place::Shop, &command).await?;
    Ok(entries.into_iter().map(|(id, fields)| Event { id, fields }).collect())
}
