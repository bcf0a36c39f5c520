//! A reader of server-sent events.

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::api::{Caller, Placed, soon};

/// What a stream says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Comment(String),
    Order { version: u64, order: Value },
}

pub struct Reader {
    response: Response,
    buffer: String,
}

impl Reader {
    pub async fn open(caller: &Caller, placed: &Placed, last: Option<&str>) -> Self {
        let response = request(caller, placed, last).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            response,
            buffer: String::new(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.response.headers()[name].to_str().unwrap()
    }

    /// The next thing said; none when the stream has ended in order.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                return Some(said(&block));
            }
            match soon("more of a stream", self.response.chunk()).await.unwrap() {
                Some(bytes) => self.buffer.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return None,
            }
        }
    }

    /// The next order, comments left out.
    pub async fn order(&mut self) -> (u64, Value) {
        loop {
            match self.next().await.expect("the stream ended") {
                Said::Order { version, order } => return (version, order),
                Said::Comment(_) => {}
            }
        }
    }

    pub async fn version(&mut self) -> u64 {
        self.order().await.0
    }

    /// Until the end, which must come without another order.
    pub async fn end(&mut self) {
        while let Some(said) = self.next().await {
            assert!(matches!(said, Said::Comment(_)), "{said:?}");
        }
    }
}

pub async fn request(caller: &Caller, placed: &Placed, last: Option<&str>) -> Response {
    let request = caller.client.get(caller.url(&format!("{}/events", placed.path)));
    let request = request.header("order-token", &placed.token);
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    soon("the head of a stream", request.send()).await.unwrap()
}

fn said(block: &str) -> Said {
    if let Some(comment) = block.strip_prefix(':') {
        return Said::Comment(comment.trim().to_owned());
    }
    let field = |name: &str| {
        let mut values = block.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap_or_else(|| panic!("no {name} in {block}")).trim()
    };
    assert_eq!(field("event:"), "order");
    let order: Value = serde_json::from_str(field("data:")).unwrap();
    let version = field("id:").parse().unwrap();
    assert_eq!(order["version"], version);
    Said::Order { version, order }
}
