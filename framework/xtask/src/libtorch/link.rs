//! `.libtorch/torch`, the one path that cargo and the binaries know.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::failure::{Failure, OrFail, Result};

/// Makes `link` a symbolic link to `folder`: relative if `folder` is beside it, so that the clone
/// can be moved.
///
/// The link is never missing in between.
pub fn point(link: &Path, folder: &Path) -> Result<()> {
    if link.canonicalize().is_ok_and(|here| folder.canonicalize().is_ok_and(|there| here == there)) {
        return Ok(());
    }
    require_free(link)?;
    let beside = link.parent().unwrap_or(link);
    let target = folder.strip_prefix(beside).unwrap_or(folder);
    fs::create_dir_all(beside).or_fail(|| format!("make the folder {}", beside.display()))?;
    let new = link.with_extension(format!("new-{}", std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => symlink(target, &new).and_then(|()| fs::rename(&new, link)),
    }
    .or_fail(|| format!("make the link {}", link.display()))
}

/// Fails if there is something in the link's place that is not a link.
pub fn require_free(link: &Path) -> Result<()> {
    if link.symlink_metadata().is_ok_and(|here| !here.is_symlink()) {
        return Err(Failure::new(
            format!("{} is not a link that set-up made, so it is left alone", link.display()),
            "move it away and run this again; to use another libtorch, set LIBTORCH to it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_relative_beside_it_and_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("hidden/torch");
        point(&link, &scratch.path().join("hidden/set/torch")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("set/torch"));
        point(&link, Path::new("/elsewhere/torch")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/elsewhere/torch"));
        assert_eq!(fs::read_dir(link.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_link_to_itself_is_not_made() {
        let scratch = tempfile::tempdir().unwrap();
        let (link, folder) = (scratch.path().join("torch"), scratch.path().join("set"));
        fs::create_dir(&folder).unwrap();
        point(&link, &folder).unwrap();
        point(&link, &link).unwrap(); // LIBTORCH=.libtorch/torch, say
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("set"));
    }

    #[test]
    fn a_real_folder_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let failure = point(scratch.path(), Path::new("/elsewhere")).unwrap_err().to_string();
        assert!(failure.contains("left alone"), "{failure}");
    }
}
