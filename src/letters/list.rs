//! Letters page by page.

use sqlx::Row;

use super::filter::{Bind, Filter, Newest, Where};
use super::rows::{COLUMNS, bound};
use super::{Index, IndexError, Letter, Standing};
use crate::delivery::record::TopicPartition;

/// A list of so many groups at most is put together from theirs; more of them fill a page soon enough.
const MERGED_GROUPS: usize = 50;

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In the order that was asked for.
    pub letters: Vec<Letter>,
    /// What the next part comes after; `None`: there is no more.
    pub next: Option<String>,
}

impl Index {
    /// Letters, from behind `after` on, which is an earlier part's `next`; at most `limit`.
    ///
    /// # Errors
    /// The database's; an `after` that is none.
    pub async fn list(
        &self,
        filter: &Filter,
        newest: Newest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed, IndexError> {
        let after = after.map(parsed).transpose()?;
        let most = limit.saturating_add(1);
        let parts = self.parts(filter).await?;
        let mut letters = Vec::new();
        for part in &parts {
            letters.extend(self.first(part, newest, after.as_ref(), most).await?);
        }
        if parts.len() > 1 {
            letters.sort_by_cached_key(|letter| (letter.at_ms, letter.place.clone(), letter.offset));
            if newest == Newest::First {
                letters.reverse();
            }
        }
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more);
        let next = next.map(cursor);
        Ok(Listed { letters, next })
    }

    /// Filters that together want the same letters, of which each is answered along an index: those that somebody has to see to
    /// stand apart from others, and a group's from other groups'.
    async fn parts(&self, filter: &Filter) -> Result<Vec<Filter>, IndexError> {
        let by_group = match self.few_groups(filter).await? {
            None => vec![filter.clone()],
            Some(groups) => (groups.into_iter())
                .map(|fingerprint| Filter {
                    fingerprint: Some(fingerprint),
                    stage: None,
                    status: None,
                    ..filter.clone()
                })
                .collect(),
        };
        if filter.open().is_some() {
            return Ok(by_group);
        }
        let wanted = match filter.standings.is_empty() {
            true => &Standing::ALL[..],
            false => &filter.standings[..],
        };
        let (open, seen_to): (Vec<Standing>, Vec<Standing>) = wanted.iter().partition(|standing| standing.is_open());
        let of_both = by_group.into_iter().flat_map(|part| {
            [open.clone(), seen_to.clone()].map(|standings| Filter {
                standings,
                ..part.clone()
            })
        });
        Ok(of_both.collect())
    }

    /// Stage and status are a group's, so that groups tell where letters of a rare one are. `None`: they do not, or there are
    /// too many.
    async fn few_groups(&self, filter: &Filter) -> Result<Option<Vec<String>>, IndexError> {
        if filter.fingerprint.is_some() || (filter.stage.is_none() && filter.status.is_none()) {
            return Ok(None);
        }
        let wanted = Where::of(&Filter {
            stage: filter.stage.clone(),
            status: filter.status,
            ..Filter::default()
        });
        let most = MERGED_GROUPS + 1;
        let statement = format!(
            "SELECT DISTINCT fingerprint FROM fnbridge_letters_groups{} LIMIT {most}",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        if rows.len() > MERGED_GROUPS {
            return Ok(None);
        }
        let groups: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(Some(groups?))
    }

    /// The first letters from behind `after` on, at most `most`.
    async fn first(
        &self,
        filter: &Filter,
        newest: Newest,
        after: Option<&Cursor>,
        most: usize,
    ) -> Result<Vec<Letter>, IndexError> {
        let mut wanted = Where::of(filter);
        if let Some((at, place, offset)) = after {
            let numbers = [
                wanted.bind(Bind::Number(*at)),
                wanted.bind(Bind::Text(place.topic.to_string())),
                wanted.bind(Bind::Number(i64::from(place.partition))),
                wanted.bind(Bind::Number(*offset)),
            ];
            let beyond = if newest == Newest::First { "<" } else { ">" };
            wanted.begin_with(format!("(at_ms, topic, part, off) {beyond} ({})", numbers.join(", ")));
        }
        let order = if newest == Newest::First { " DESC" } else { "" };
        let order = format!("ORDER BY at_ms{order}, topic{order}, part{order}, off{order}");
        if let Some(text) = &filter.reason {
            return self.search(text, wanted, &order, most).await;
        }
        let statement = format!(
            "SELECT {COLUMNS} FROM fnbridge_letters{} {order} LIMIT {most}",
            wanted.text()
        );
        self.letters(statement, &wanted.binds).await
    }
}

/// What a part of a list comes after: a letter, by when it was given up and where it stands.
pub fn cursor(letter: &Letter) -> String {
    format!("{}/{}", letter.at_ms, letter.id())
}

/// When a letter was given up, and where it stands.
pub(super) type Cursor = (i64, TopicPartition, i64);

/// Reads `AT/TOPIC/PARTITION/OFFSET`.
pub(super) fn parsed(text: &str) -> Result<Cursor, IndexError> {
    let read = || {
        let (at, id) = text.split_once('/')?;
        let (place, offset) = super::place_of(id)?;
        Some((at.parse().ok()?, place, offset))
    };
    read().ok_or_else(|| IndexError::NoCursor(text.to_owned()))
}
