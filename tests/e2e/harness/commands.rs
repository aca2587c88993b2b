//! A page's commands, to be run word for word.

use std::collections::VecDeque;

/// The lines of the code blocks of one chapter, without remarks.
pub fn commands(page: &str, chapter: &str) -> VecDeque<String> {
    let (_, rest) = page
        .split_once(chapter)
        .unwrap_or_else(|| panic!("the page has no chapter {chapter}"));
    let chapter = rest.split("\n## ").next().unwrap_or_default();
    let blocks = chapter.split("```").skip(1).step_by(2);
    let lines = blocks
        .flat_map(str::lines)
        .map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines
        .filter(|line| line.starts_with("fnbridge "))
        .map(str::to_owned)
        .collect()
}
