//! What this process has counted so far, as the metrics page says it.

use std::collections::BTreeMap;

/// The page's counts of a metric, summed by one of its labels.
pub(super) fn by_label(page: &str, metric: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in page.lines() {
        let Some(series) = line.strip_prefix(metric).and_then(|rest| rest.strip_prefix('{')) else {
            continue;
        };
        let Some((labels, value)) = series.rsplit_once("} ") else {
            continue;
        };
        let value = value.trim().parse::<f64>().unwrap_or_default();
        let prefix = format!("{label}=\"");
        let named = labels
            .split(',')
            .find_map(|one| one.strip_prefix(&prefix)?.strip_suffix('"'));
        if let Some(name) = named {
            *sums.entry(name.to_owned()).or_default() += value as u64;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_the_label() {
        let page = "# TYPE settled_total counter\n\
                    settled_total{disposition=\"dropped\",partition=\"0\"} 3\n\
                    settled_total{disposition=\"delivered\",partition=\"0\"} 40\n\
                    settled_total{disposition=\"delivered\",partition=\"1\"} 2\n\
                    settled_total_other{disposition=\"delivered\"} 9\n\
                    settled 1\n";
        let expected = [("delivered".to_owned(), 42), ("dropped".to_owned(), 3)];
        assert_eq!(by_label(page, "settled_total", "disposition"), BTreeMap::from(expected));
    }
}
