//! The card as a page to read.

use std::fmt::Write;

use super::ModelCard;

impl ModelCard {
    /// The card in Markdown: what the model is, what it reached, and how to make it again.
    pub fn to_markdown(&self) -> String {
        let classes = if self.classes.len() > 20 {
            format!("{}: {}, …", self.classes.len(), self.classes[..20].join(", "))
        } else {
            self.classes.join(", ")
        };
        let normalisation = match self.mean.is_empty() && self.std.is_empty() {
            true => "none".to_string(),
            false => format!("(x - {:?}) / {:?}", self.mean, self.std),
        };
        let facts = [
            ("architecture", self.architecture.clone()),
            ("data set", self.dataset.clone()),
            ("classes", classes),
            ("images", "values in [0, 1]".into()),
            ("normalisation, part of the model", normalisation),
            ("trained against", self.threat.to_string()),
            ("method", self.method.clone()),
            ("epochs", self.epochs.to_string()),
            ("processes", self.ranks.to_string()),
            ("seed", self.seed.to_string()),
            ("foil", self.foil_version.clone()),
            ("libtorch", self.libtorch_version.clone()),
            ("config (SHA-256)", format!("`{}`", self.config_hash)),
            ("created", self.created.clone()),
        ];
        let mut page = format!("# {}\n\n| | |\n|:---|:---|\n", self.name);
        for (what, value) in facts {
            let _ = writeln!(page, "| {what} | {} |", value.replace('|', "\\|")); // writing to a String does not fail
        }
        page += "\n## When it was selected\n\n| metric | value |\n|:---|---:|\n";
        for (name, value) in &self.metrics {
            let _ = writeln!(page, "| {} | {value:.2} |", name.replace('|', "\\|"));
        }
        let _ = write!(page, "\n## Make it again\n\n```sh\n{}\n```\n", self.command);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::tests::card;

    #[test]
    fn the_page_says_all_of_it() {
        let page = card().to_markdown();
        for line in [
            "| classes | airplane, bird \\| plane |",
            "| normalisation, part of the model | (x - [0.4914, 0.4822, 0.4465]) / [0.2471, 0.2435, 0.2616] |",
            "| trained against | Linf 8/255 |",
            "| pgd10 | 55.30 |",
            "| loss | inf |",
            "foil train configs/cifar10/cat_cw.yaml seed=1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }
}
