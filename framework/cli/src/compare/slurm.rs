//! A work list as a Slurm array: one task per run.

use std::fmt::Write;

/// The contents of the scripts.
#[derive(Debug)]
pub struct Job<'a> {
    /// How many runs the list has.
    pub runs: usize,
    /// The program, and the words that make the list, `compare A.yaml --seeds 5`.
    pub words: &'a [String],
    /// The folder that the words are relative to.
    pub place: &'a str,
    /// Where the logs of the tasks go.
    pub logs: &'a str,
    /// Whether a task asks for a GPU.
    pub gpu: bool,
    /// The hash of the list: a task refuses to work on another one.
    pub list: &'a str,
}

impl Job<'_> {
    /// The script for `sbatch`: each task trains and evaluates the run of its number, or resumes
    /// it.
    pub fn array(&self) -> String {
        let last = self.runs.saturating_sub(1);
        let mut script = format!(
            "#!/bin/bash\n\
             # One task per run. Written by foil {}.\n\
             #SBATCH --job-name=foil\n\
             #SBATCH --array=0-{last}\n\
             #SBATCH --cpus-per-task=8\n\
             #SBATCH --requeue\n\
             #SBATCH --signal=B:TERM@120\n\
             #SBATCH --open-mode=append\n",
            foil::VERSION
        );
        if self.gpu {
            script += "#SBATCH --gres=gpu:1\n";
        }
        // Slurm reads these lines itself, and supports only these quotes.
        let _ = writeln!(script, "#SBATCH --output=\"{}/%a.log\"", self.logs); // writing to a String does not fail
        let _ = write!(script, "set -euo pipefail\ncd {}\n", quoted(self.place));
        let _ = writeln!(script, "exec {} --list {} --task \"$SLURM_ARRAY_TASK_ID\"", self.line(), self.list);
        script
    }

    /// The script that submits the array, and after it the job that makes the table.
    pub fn submit(&self, array: &str) -> String {
        format!(
            "#!/bin/bash\n\
             # Submits the runs, and after them the table. Submit again to resume what was lost.\n\
             set -euo pipefail\n\
             job=$(sbatch --parsable {})\n\
             sbatch --dependency=afterany:\"${{job%%;*}}\" --job-name=foil-table --output={} --wrap {}\n",
            quoted(array),
            quoted(&format!("{}/table.log", self.logs)),
            quoted(&format!("cd {} && {}", quoted(self.place), self.gather())),
        )
    }

    /// The command that makes the table of finished runs.
    pub fn gather(&self) -> String {
        format!("{} --gather", self.line())
    }

    fn line(&self) -> String {
        self.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// `word` quoted for a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("attack.eps=8/255"), "attack.eps=8/255");
        assert_eq!(quoted("evaluate=[a, b]"), "'evaluate=[a, b]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
