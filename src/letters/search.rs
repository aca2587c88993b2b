//! Letters whose reasons hold a text.
//!
//! A text that many reasons hold is soon met on the way from one end of the list; one that few hold is found by the groups of
//! three letters in it. Only a text that is neither, or too short for that, is looked for in each reason.

use std::collections::BTreeSet;

use sqlx::Row;

use super::filter::{Bind, Where, containing};
use super::rows::{COLUMNS, bound, letter};
use super::{Index, IndexError, Letter};
use crate::database::Dialect;

/// So many letters are looked at on the way.
const NEAR: usize = if cfg!(test) { 3 } else { 5_000 };
/// A text that more reasons hold is not rare.
const RARE: usize = if cfg!(test) { 6 } else { 20_000 };
/// So many groups of three letters tell a text well enough.
const TRIGRAMS: usize = 10;

impl Index {
    /// The first letters of `wanted`, whose reasons hold `text`; at most `most`.
    pub(super) async fn search(
        &self,
        text: &str,
        mut wanted: Where,
        order: &str,
        most: usize,
    ) -> Result<Vec<Letter>, IndexError> {
        let all = wanted.indexed_text();
        let on_the_way = format!(
            "SELECT {COLUMNS} FROM (SELECT * FROM fnbridge_letters{all} {order} LIMIT {NEAR}) AS near{} {order} LIMIT {most}",
            wanted.text()
        );
        let letters = self.letters(on_the_way, &wanted.binds).await?;
        if letters.len() >= most || !self.are_there_more(&all, &wanted.binds).await? {
            return Ok(letters);
        }
        let rare = match self.tables().await?.finds_texts {
            true => rare(self.dialect, text, &mut wanted),
            false => None,
        };
        let Some(rare) = rare else {
            return self.letters(one_by_one(&wanted, order, most), &wanted.binds).await;
        };
        let statement = match self.is_rare(&rare, &wanted.binds).await? {
            true => rare.among(&wanted, order, most),
            false => one_by_one(&wanted, order, most),
        };
        self.letters(statement, &wanted.binds).await
    }

    /// Whether there are letters behind those that were looked at on the way.
    async fn are_there_more(&self, all: &str, binds: &[Bind]) -> Result<bool, IndexError> {
        let statement = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM fnbridge_letters{all} LIMIT {}) AS counted",
            NEAR + 1
        );
        Ok(self.count(statement, binds).await? > NEAR)
    }

    async fn is_rare(&self, rare: &Rare, binds: &[Bind]) -> Result<bool, IndexError> {
        let statement = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {}) AS counted",
            rare.from,
            RARE + 1
        );
        Ok(self.count(statement, binds).await? <= RARE)
    }

    async fn count(&self, statement: String, binds: &[Bind]) -> Result<usize, IndexError> {
        let row = bound(statement, binds).fetch_one(self.pool().await?).await?;
        Ok(usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default())
    }

    pub(super) async fn letters(&self, statement: String, binds: &[Bind]) -> Result<Vec<Letter>, IndexError> {
        let rows = bound(statement, binds).fetch_all(self.pool().await?).await?;
        Ok(rows.iter().map(letter).collect::<Result<_, _>>()?)
    }
}

fn one_by_one(wanted: &Where, order: &str, most: usize) -> String {
    format!(
        "SELECT {COLUMNS} FROM fnbridge_letters{} {order} LIMIT {most}",
        wanted.text()
    )
}

/// The letters that an index of texts knows.
struct Rare {
    dialect: Dialect,
    /// Table and condition.
    from: String,
}

impl Rare {
    fn among(&self, wanted: &Where, order: &str, most: usize) -> String {
        let (from, all) = (&self.from, wanted.text());
        match self.dialect {
            Dialect::Sqlite => format!(
                "WITH found AS MATERIALIZED (SELECT rowid AS found_id FROM {from}) \
                 SELECT {COLUMNS} FROM found CROSS JOIN fnbridge_letters ON row_id = found_id{all} {order} LIMIT {most}"
            ),
            Dialect::Postgres => format!(
                "WITH found AS MATERIALIZED (SELECT * FROM {from}) SELECT {COLUMNS} FROM found{all} {order} LIMIT {most}"
            ),
        }
    }
}

/// `None` where the text is too short.
fn rare(dialect: Dialect, text: &str, wanted: &mut Where) -> Option<Rare> {
    let trigrams = trigrams(text);
    if trigrams.is_empty() {
        return None;
    }
    let from = match dialect {
        Dialect::Sqlite => {
            let number = wanted.bind(Bind::Text(trigrams.join(" AND ")));
            format!("fnbridge_letters_reasons WHERE fnbridge_letters_reasons MATCH {number}")
        }
        Dialect::Postgres => {
            let number = wanted.bind(Bind::Text(containing(text)));
            format!("fnbridge_letters WHERE lower(reason) LIKE {number} ESCAPE '\\'")
        }
    };
    Some(Rare { dialect, from })
}

/// Groups of three letters that are in the text, quoted as [FTS5](https://sqlite.org/fts5.html#full_text_query_syntax) reads
/// them: those with digits first, as they tell most.
fn trigrams(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.to_ascii_lowercase().chars().collect();
    let all: BTreeSet<&[char]> = letters.windows(3).filter(|three| !three.contains(&'\0')).collect();
    let mut all: Vec<&[char]> = all.into_iter().collect();
    all.sort_by_key(|three| three.iter().filter(|letter| !letter.is_ascii_digit()).count());
    let quoted = |three: &&[char]| format!("\"{}\"", three.iter().collect::<String>().replace('"', "\"\""));
    all.iter().take(TRIGRAMS).map(quoted).collect()
}
