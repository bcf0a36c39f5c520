//! What a shopper typed, turned into a search. Pure. The words travel as parameters, never as query text, so there is
//! nothing in them that could be syntax.

/// The longest text that is searched for, in characters.
pub const MAX_TEXT: usize = 200;
/// The most words of it: each adds a clause.
const MAX_WORDS: usize = 16;

/// A query in dialect 2 and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Query text, made of fixed parts and parameter names.
    pub query: String,
    /// Names and values of the parameters.
    pub parameters: Vec<(String, String)>,
}

/// Why a text cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// Longer than [`MAX_TEXT`].
    #[error("q is longer than {MAX_TEXT} characters")]
    TooLong,
    /// More than sixteen words.
    #[error("q has more than {MAX_WORDS} words")]
    TooManyWords,
    /// Nothing but punctuation.
    #[error("q holds no word to search for")]
    NoWord,
}

/// Everything that is sold.
const SOLD: &str = "-@archived:{true}";

impl Search {
    /// Every product.
    pub fn all() -> Self {
        Self {
            query: SOLD.to_owned(),
            parameters: Vec::new(),
        }
    }

    /// Products with every word of the text, or a word that begins with it, in name or description.
    pub fn text(text: &str) -> Result<Self, SearchError> {
        if text.chars().count() > MAX_TEXT {
            return Err(SearchError::TooLong);
        }
        // As the index splits documents: on ASCII punctuation, but not on the underscore.
        let words: Vec<&str> = text
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() {
            return Err(SearchError::NoWord);
        }
        if words.len() > MAX_WORDS {
            return Err(SearchError::TooManyWords);
        }
        let mut search = Self::all();
        for word in words {
            search.require(word);
        }
        Ok(search)
    }

    fn require(&mut self, word: &str) {
        let alternatives: Vec<String> = spellings(word)
            .into_iter()
            .map(|spelling| {
                let name = format!("w{}", self.parameters.len());
                // One character alone is too short a prefix for the index.
                let prefix = if spelling.chars().count() > 1 {
                    format!("|${name}*")
                } else {
                    String::new()
                };
                let clause = format!("${name}{prefix}");
                self.parameters.push((name, spelling));
                clause
            })
            .collect();
        self.query.push_str(" (");
        self.query.push_str(&alternatives.join("|"));
        self.query.push(')');
    }
}

/// The index folds case of ASCII letters only, so a word with others is also looked for in its usual spellings.
fn spellings(word: &str) -> Vec<String> {
    if word.is_ascii() {
        return vec![word.to_owned()];
    }
    let lower = word.to_lowercase();
    let mut rest = lower.chars();
    let capitalised = rest
        .next()
        .map(|first| first.to_uppercase().chain(rest).collect())
        .unwrap_or_default();
    let mut spellings = vec![word.to_owned(), lower, capitalised, word.to_uppercase()];
    spellings.sort();
    spellings.dedup();
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_become_parameters() {
        let search = Search::text("red, shirt").unwrap();
        assert_eq!(search.query, "-@archived:{true} ($w0|$w0*) ($w1|$w1*)");
        assert_eq!(
            search.parameters,
            [
                ("w0".to_owned(), "red".to_owned()),
                ("w1".to_owned(), "shirt".to_owned())
            ]
        );
    }

    #[test]
    fn words_beyond_ascii_are_looked_for_in_every_usual_case() {
        let search = Search::text("über").unwrap();
        let values: Vec<_> = search.parameters.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["ÜBER", "Über", "über"]);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        assert_eq!(Search::text("!?*"), Err(SearchError::NoWord));
        assert_eq!(Search::text(&"a ".repeat(17)), Err(SearchError::TooManyWords));
        assert_eq!(Search::text(&"ä".repeat(201)), Err(SearchError::TooLong));
    }

    proptest! {
        /// Nothing that was typed ends up in the query's text.
        #[test]
        fn the_query_is_made_of_fixed_parts(text in ".{0,200}") {
            if let Ok(search) = Search::text(&text) {
                let clauses = search.query.strip_prefix(SOLD).unwrap();
                prop_assert!(clauses.chars().all(|character| "w0123456789$|*() ".contains(character)), "{}", clauses);
            }
        }
    }
}
