//! Removing duplicates.

/// The items without repetitions, in the order in which they first occur. For short lists: each
/// item is compared with all before it.
pub fn distinct<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
