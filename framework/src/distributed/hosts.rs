//! Names of machines: this one's, and the first in Slurm's list of nodes.

/// This machine's name.
pub(super) fn this_host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).unwrap_or_else(|| "this machine".into())
}

/// The first of `node[003-007,012]-ib,login1`: `node003-ib`.
pub(super) fn first_node(list: &str) -> Option<String> {
    let list = list.trim();
    let mut name = String::new();
    let mut rest = list;
    loop {
        let Some(at) = rest.find(['[', ',']) else {
            name += rest;
            break;
        };
        name += &rest[..at];
        if rest[at..].starts_with(',') {
            break;
        }
        let close = at + rest[at..].find(']')?;
        let inside = &rest[at + 1..close];
        name += inside.split(['-', ',']).next()?;
        rest = &rest[close + 1..];
    }
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scontrol show hostnames LIST | head -1
    #[test]
    fn the_first_of_slurms_lists() {
        for (list, first) in [
            ("n1", Some("n1")),
            ("n1,n2", Some("n1")),
            ("gpu[03-05,9]", Some("gpu03")),
            ("gpu[7],cpu[1-2]", Some("gpu7")),
            ("rack[1-2]node[04-08]-ib", Some("rack1node04-ib")),
            ("", None),
            ("gpu[03-", None),
        ] {
            assert_eq!(first_node(list).as_deref(), first, "{list}");
        }
    }
}
