//! Server-sent events, piece by piece as they come (WHATWG HTML, section 9.2). Pure.

/// The most bytes of one event: more is no event of this API.
const LONGEST_EVENT: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// An event without end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// What has come and makes no whole event yet.
#[derive(Debug, Default)]
pub(super) struct Parser {
    rest: Vec<u8>,
    open: Event,
    has_data: bool,
}

impl Parser {
    /// Takes bytes; the next whole event comes from [`Self::next`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Endless> {
        if self.rest.len() + self.open.data.len() + bytes.len() > LONGEST_EVENT {
            return Err(Endless);
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole event. Comments, which keep a connection alive, are none.
    pub(super) fn next(&mut self) -> Option<Event> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(event) = self.line(line.trim_end_matches(['\n', '\r'])) {
                return Some(event);
            }
        }
        None
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.open);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.open.name),
            "id" => self.open.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.open.data.push('\n');
                }
                self.open.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let text = ": alive\n\nevent: order\nid: 3\ndata: {\"a\":\ndata: 1}\n\n:\n\nid:4\r\nevent:order\r\ndata:x\r\n\r\nevent: order\ndata: cut";
        let expected = [("3", "{\"a\":\n1}"), ("4", "x")].map(|(id, data)| Event {
            name: "order".to_owned(),
            id: Some(id.to_owned()),
            data: data.to_owned(),
        });
        for size in 1..=text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.push(piece).unwrap();
                while let Some(event) = parser.next() {
                    events.push(event);
                }
            }
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_has_an_end() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; LONGEST_EVENT / 4];
        let outcome = (0..5).try_for_each(|_| parser.push(&piece));
        assert_eq!(outcome, Err(Endless));
        let mut parser = Parser::default();
        let line = [b"data: ", &piece[..], b"\n"].concat();
        let outcome = (0..5).try_for_each(|_| {
            let pushed = parser.push(&line);
            assert_eq!(parser.next(), None);
            pushed
        });
        assert_eq!(outcome, Err(Endless));
    }
}
