//! A connection that has something happen to the shop just before a command is sent, so that what changes between two reads
//! changes there for certain.

use std::sync::{Arc, Mutex};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Arg, Cmd, Pipeline, RedisFuture, Value};

/// Told the word that a command, or the first of a pipeline, begins with: what is to happen before.
pub(crate) type Deed = Arc<Mutex<dyn FnMut(&str) -> Option<Cmd> + Send>>;

pub(crate) fn deed(deed: impl FnMut(&str) -> Option<Cmd> + Send + 'static) -> Deed {
    Arc::new(Mutex::new(deed))
}

/// The one thing to do, before the command of this word is sent for the `nth` time, from 1.
pub(crate) fn at(word: &'static str, nth: usize, command: Cmd) -> Deed {
    let (mut count, mut command) = (0, Some(command));
    deed(move |next| {
        count += usize::from(next == word);
        if next == word && count == nth {
            command.take()
        } else {
            None
        }
    })
}

/// Both.
pub(crate) fn and(first: &Deed, second: &Deed) -> Deed {
    let (first, second) = (first.clone(), second.clone());
    deed(move |next| {
        let first = first.lock().unwrap()(next);
        let second = second.lock().unwrap()(next);
        first.or(second)
    })
}

pub(crate) struct Meddler {
    reader: MultiplexedConnection,
    writer: MultiplexedConnection,
    deed: Deed,
}

impl Meddler {
    pub(crate) fn new(reader: MultiplexedConnection, writer: MultiplexedConnection, deed: &Deed) -> Self {
        Self {
            reader,
            writer,
            deed: deed.clone(),
        }
    }

    async fn before(&mut self, command: Option<&Cmd>) {
        let Some(Arg::Simple(word)) = command.and_then(|command| command.args_iter().next()) else {
            return;
        };
        let done = self.deed.lock().unwrap()(str::from_utf8(word).unwrap());
        if let Some(command) = done {
            command.exec_async(&mut self.writer).await.unwrap();
        }
    }
}

impl ConnectionLike for Meddler {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.before(Some(command)).await;
            self.reader.req_packed_command(command).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.before(pipeline.cmd_iter().next()).await;
            self.reader.req_packed_commands(pipeline, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        self.reader.get_db()
    }
}
