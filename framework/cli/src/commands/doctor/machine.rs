//! Processor and memory.

use super::Finding;
use foil::engine::cores;
use std::fs::read_to_string;

pub(super) fn processor() -> Finding {
    let (cores, all) = (cores::given(), cores::of_machine());
    let threads = tch::get_num_threads();
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or(std::env::consts::ARCH);
    let finding = Finding::new(
        "processor",
        format!("{model}, {}, {}; libtorch computes with {threads} of them", instructions(), shown(cores, all)),
    );
    if let Some(wished) = cores::too_many() {
        let who = if std::env::var_os("OMP_NUM_THREADS").is_some() { "OMP_NUM_THREADS" } else { "libtorch" };
        return finding.help(format!("{who} asks for {wished} threads; more than {threads} would wait for each other"));
    }
    match std::env::var("OMP_NUM_THREADS") {
        Ok(set) if (threads as usize) < cores => {
            finding.help(format!("OMP_NUM_THREADS={set} leaves cores idle; without it every core computes"))
        }
        _ => finding,
    }
}

fn shown(cores: usize, all: usize) -> String {
    match cores < all {
        true => format!("{cores} of the machine's {all} cores, as its CPU affinity or control group allows"),
        false => format!("{cores} cores"),
    }
}

/// The vector instructions libtorch picks, by its own rule.
fn instructions() -> String {
    if let Ok(wanted) = std::env::var("ATEN_CPU_CAPABILITY") {
        return format!("{wanted} (from ATEN_CPU_CAPABILITY)");
    }
    #[cfg(target_arch = "x86_64")]
    {
        let (avx2, fma) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("fma"));
        let wide = is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        return match (avx2 && fma, wide) {
            (true, true) => "AVX512".into(),
            (true, false) => "AVX2".into(),
            _ => "no AVX2 (slow)".into(),
        };
    }
    #[allow(unreachable_code)]
    std::env::consts::ARCH.into()
}

pub(super) fn memory() -> Finding {
    let info = read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = |name: &str| {
        let kilobytes: f64 = field(&info, name)?.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024.0 / 1e9)
    };
    match (gigabytes("MemTotal"), gigabytes("MemAvailable")) {
        (Some(total), Some(available)) => {
            let finding = Finding::new("memory", format!("{total:.1} GB, {available:.1} GB available"));
            match available < 2.0 {
                true => finding.help("a run needs about 2 GB: close something, or lower train.batch_size"),
                false => finding,
            }
        }
        _ => Finding::new("memory", "unknown on this system"),
    }
}

/// The value of `NAME : VALUE` in a file of /proc.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let info = "MemTotal:       24604872 kB\nmodel name\t: A Processor\n";
        assert_eq!(field(info, "MemTotal"), Some("24604872 kB"));
        assert_eq!(field(info, "model name"), Some("A Processor"));
        assert_eq!(field(info, "Mem"), None);
    }
}
