//! Which letters are wanted, as a part of a statement.

/// Which letters are wanted; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of pipelines whose names begin like this.
    pub prefix: String,
    /// In this dead-letter topic.
    pub topic: Option<String>,
    /// In this partition of it.
    pub partition: Option<i32>,
    /// At this offset or behind it.
    pub from_offset: Option<i64>,
    /// At this offset or before it.
    pub to_offset: Option<i64>,
    /// Given up then or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Given up before then, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// With the key of this digest.
    pub key: Option<String>,
    /// Of this stage.
    pub stage: Option<String>,
    /// With this status.
    pub status: Option<u16>,
    /// Whose reason holds this text, whatever the case of its letters.
    pub reason: Option<String>,
    /// Of this group.
    pub fingerprint: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newest {
    /// Newest first.
    #[default]
    First,
    /// Oldest first.
    Last,
}

/// A value that a statement refers to by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    Text(String),
    Number(i64),
}

/// Conditions, joined by AND; both databases know `$1`.
#[derive(Debug, Default)]
pub(super) struct Where {
    conditions: Vec<String>,
    pub(super) binds: Vec<Bind>,
}

impl Where {
    pub(super) fn of(filter: &Filter) -> Where {
        let mut all = Where::default();
        let number = |value: Option<i64>| value.map(Bind::Number);
        let text = |value: &Option<String>| value.clone().map(Bind::Text);
        all.add("pipeline = ", text(&filter.pipeline), "");
        all.add("topic = ", text(&filter.topic), "");
        all.add("part = ", number(filter.partition.map(i64::from)), "");
        all.add("off >= ", number(filter.from_offset), "");
        all.add("off <= ", number(filter.to_offset), "");
        all.add("at_ms >= ", number(filter.since_ms), "");
        all.add("at_ms < ", number(filter.until_ms), "");
        all.add("key_digest = ", text(&filter.key), "");
        all.add("stage = ", text(&filter.stage), "");
        all.add("status = ", number(filter.status.map(i64::from)), "");
        all.add("fingerprint = ", text(&filter.fingerprint), "");
        if !filter.prefix.is_empty() {
            all.add("pipeline >= ", Some(Bind::Text(filter.prefix.clone())), "");
            all.add(
                "pipeline < ",
                Some(Bind::Text(crate::store::behind(&filter.prefix))),
                "",
            );
        }
        let pattern = filter
            .reason
            .as_ref()
            .map(|text| Bind::Text(containing(&text.to_lowercase())));
        all.add("lower(reason) LIKE ", pattern, " ESCAPE '\\'");
        all
    }

    /// A condition, if there is a value for it.
    pub(super) fn add(&mut self, before: &str, value: Option<Bind>, after: &str) {
        if let Some(value) = value {
            let number = self.bind(value);
            self.conditions.push(format!("{before}{number}{after}"));
        }
    }

    /// A condition as it stands.
    pub(super) fn push(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// How a value is referred to.
    pub(super) fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    /// ` WHERE …`, or nothing.
    pub(super) fn text(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

/// A pattern for texts that hold this one.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
