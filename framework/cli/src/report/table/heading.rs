//! Names of evaluations as papers print them.

use foil_runs::eval::NATURAL;

/// `natural` as `Natural`, `pgd20` as `PGD-20`, `fab_t` as `FAB-T`, `autoattack` as `AA`, `square`
/// as `Square`, `pgd20@2/255` as `PGD-20 2/255`.
pub fn heading(name: &str) -> String {
    match name {
        NATURAL => return "Natural".into(),
        "autoattack" => return "AA".into(),
        "square" => return "Square".into(),
        _ => {}
    }
    // One of a row of radii.
    if let Some((row, radius)) = name.split_once('@') {
        return format!("{} {radius}", heading(row));
    }
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[letters.len()..];
    let letters = letters.replace('_', "-").to_uppercase();
    if number.is_empty() { letters } else { format!("{letters}-{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_papers_print_them() {
        assert_eq!(heading("pgd20@2/255"), "PGD-20 2/255");
        assert_eq!(["natural", "fgsm", "pgd20", "apgd_ce"].map(heading), ["Natural", "FGSM", "PGD-20", "APGD-CE"]);
    }
}
