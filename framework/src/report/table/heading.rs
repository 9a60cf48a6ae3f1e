//! Names of evaluations as papers print them.

/// `natural` as `Natural`, `pgd20` as `PGD-20`, `autoattack` as `AutoAttack`, any other in capitals.
pub fn heading(name: &str) -> String {
    match name {
        "natural" => return "Natural".into(),
        "autoattack" => return "AutoAttack".into(),
        "square" => return "Square".into(),
        _ => {}
    }
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[letters.len()..];
    if number.is_empty() { letters.to_uppercase() } else { format!("{}-{number}", letters.to_uppercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_papers_print_them() {
        assert_eq!(["natural", "fgsm", "pgd20", "apgd_ce"].map(heading), ["Natural", "FGSM", "PGD-20", "APGD_CE"]);
    }
}
