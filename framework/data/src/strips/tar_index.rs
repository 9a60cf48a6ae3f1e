//! The files of a tar that is in memory, without copying them.

use super::Members;
use crate::fault::{Fault, first_bytes};
use std::collections::HashMap;

/// Name to content of every regular file.
pub(super) fn members(bytes: &[u8]) -> Result<Members<'_>, Fault> {
    let broken = |error: std::io::Error| {
        Fault::new("it is not a tar archive", error.to_string(), "labels.bin and NNN.webp in a tar")
    };
    let mut members = HashMap::new();
    for member in tar::Archive::new(bytes).entries().map_err(broken)? {
        let member = member.map_err(broken)?;
        if !member.header().entry_type().is_file() {
            continue;
        }
        let name = member.path().map_err(broken)?;
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let start = usize::try_from(member.raw_file_position()).ok();
        let length = usize::try_from(member.size()).ok();
        let content = start.zip(length).and_then(|(start, length)| bytes.get(start..start.checked_add(length)?));
        let cut = || Fault::new(format!("it is truncated inside {name}"), format!("{} bytes", bytes.len()), "more");
        members.insert(name.clone(), content.ok_or_else(cut)?);
    }
    if members.is_empty() {
        return Err(Fault::new("it is empty", first_bytes(bytes), "labels.bin and NNN.webp in a tar"));
    }
    Ok(members)
}
