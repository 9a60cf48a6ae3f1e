#!/usr/bin/env bash
# Measures foil on a GPU, part by part, into one folder: what docs/results/gpu.md states, and what
# it lacks.
set -u

help() {
    cat <<'TEXT'
measure.sh [--out DIR] [--minutes N] [--cpu] [--print] PART...

Runs the parts that are named, or every one with `all`. Under DIR (default: measured) each has a folder with a log for each command; summary.txt has a line for each, with
its seconds, how it ended and what it said last. What fails is passed over. A part ends after its minutes, or after N. The same words again go on with what
trains or judges networks, and do the rest anew.

  --list     the parts: minutes on an H100, what each shows, and the goal
  --print    the command lines; runs nothing
  --cpu      everything in small, to see that it runs: two images or 100 digits, and no capture

It belongs into a folder made by `cargo xtask bundle`, or into foil's repository; FOIL names another program than theirs. CIFAR-10 and MNIST are where `foil data list`
looks for them, FOIL_DATA first. PYTHON (python3) has torch; comparing files takes any.
TEXT
}

# Name, minutes, what it shows, goal.
PARTS='kernels   | 4   | every kernel and convolution equals its plain form on this GPU                  | all tests pass
bits      | 15  | steps captured and one operation after the other, with and without FOIL_CONV=off and FOIL_OVERLAP=off; killed and resumed | same bits
steps     | 12  | milliseconds of a step of every method, batch 128 and 512, WRN-34-10, tf32, fp32, MNIST | AT, TRADES 12.5; MART 9.8; batch 512: 1.4 times the strongest
peers     | 7   | the same steps in PyTorch, as published and captured by hand                    | 8 times as fast as published; WRN-34-10 4 times
strongest | 10  | the same by torch.compile, tuned                                                | 1.4 times as fast
start     | 3   | seconds from the pipeline to the third step, and memory, in a process of its own | 5 s
profile   | 4   | the kernels of a step of AT, TRADES and MART                                    |
evaluation| 25  | AT of 30 epochs under PGD-100 in tf32 and fp32, and under AutoAttack, 10,000 images | 30 s, 60 s, 10 min
bf16      | 12  | AT of 30 epochs in bf16 and in tf32                                             | within 0.3 points
fast      | 60  | eight methods, 30 epochs each, in one table                                     |
recipes   | 90  | AT, TRADES, CAT_cent and CAT_cw as published, beside the paper'\''s Table 2           | AT to epoch 110 in 10 min, CAT in 20
mnist     | 120 | the CAT paper'\''s Table 1, five seeds                                              |
gpus      | 12  | the second GPU alone, two GPUs together, and a rank that is lost                | same bits on each; 1.8 times; ends within 15 s'

out=measured minutes='' cpu='' print='' failed=0 chosen=()
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) help; exit ;;
    --list) echo "$PARTS"; exit ;;
    --out) out=${2:?--out takes a folder}; shift ;;
    --minutes) minutes=${2:?--minutes takes a number}; shift ;;
    --cpu) cpu=yes ;;
    --print) print=yes ;;
    -*) echo "error: there is no option $1" >&2; help >&2; exit 2 ;;
    all) chosen=($(echo "$PARTS" | cut -d ' ' -f 1)) ;;
    *)
        echo "$PARTS" | grep -q "^$1 " || { echo "error: there is no part $1; --list shows them" >&2; exit 2; }
        chosen+=("$1")
        ;;
    esac
    shift
done
[ ${#chosen[@]} -gt 0 ] || { help; exit 2; }

here=$(cd "$(dirname "$0")" && pwd) || exit 1
case $out in /*) ;; *) out=$PWD/$out ;; esac
if [ -d "$here/configs" ]; then root=$here default=./foil; else root=$here/../.. default=target/release/foil; fi
cd "$root" || exit 1
foil=${FOIL:-$default} python=${PYTHON:-python3} peers=$here/torch_peers.py

# What makes a step, and a run, small.
small_step=() small_run=() batch=128 large=512 counted=12 seeds=5
if [ "$cpu" ]; then
    small_step=(device=cpu train.batch_size=2) batch=2 large=3 counted=1 seeds=1
    small_run=(device=cpu data=mnist_subset augment=null images.validation=0 images.train_limit=101 images.test_limit=20 model=small_cnn train.epochs=1
        train.batch_size=25 train.eval_batch_size=20 train.capture=auto)
fi

# Whether two checkpoints hold the same bits.
SAME='
import json, sys
def tensors(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + size])
    return {name: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]] for name, t in about.items() if name != "__metadata__"}
a, b = map(tensors, sys.argv[1:])
other = sorted(a.keys() ^ b.keys()) + [name for name in a if name in b and a[name] != b[name]]
print("same bits, %d tensors" % len(a) if not other else "DIFFERENT: %d of %d tensors, such as %s" % (len(other), len(a), other[0]))
sys.exit(bool(other))'

# killed DIR COMMAND...: ends it by SIGKILL once DIR holds a state.
KILLED='dir=$1; shift; "$@" & p=$!; until [ -e "$dir/state.safetensors" ] || ! kill -0 $p; do sleep 0.1; done; kill -KILL $p; wait $p; [ $? = 137 ] && echo killed'

# lost DIR COMMAND...: as two ranks, of which the second is killed once DIR holds metrics; how long
# the first goes on.
LOST='dir=$1; shift
for r in 0 1; do RANK=$r WORLD_SIZE=2 LOCAL_RANK=$r MASTER_ADDR=127.0.0.1 MASTER_PORT=29517 "$@" & p[$r]=$!; done
until [ -e "$dir/metrics.jsonl" ] || ! kill -0 ${p[0]}; do sleep 0.5; done
kill -KILL ${p[1]}; SECONDS=0; wait ${p[0]}; echo "rank 0 ended with code $? after $SECONDS s"'

# run NAME SECONDS COMMAND...: one command of the part under way.
run() {
    local name=$1 most=$2 word begun code left
    shift 2
    if [ "$print" ]; then
        printf '%s:' "$part"
        for word; do case $word in *[!][A-Za-z0-9_=./,:@%+-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac; done
        echo
        return
    fi
    left=$((ends - SECONDS))
    if [ "$left" -le 0 ]; then
        failed=$((failed + 1))
        note "$name" - "not begun: the part's time is over"
        return 1
    fi
    case $1 in
    same) shift; set -- "$python" -c "$SAME" "$@" ;;
    killed) shift; set -- bash -c "$KILLED" killed "$@" ;;
    lost) shift; set -- bash -c "$LOST" lost "$@" ;;
    esac
    begun=$SECONDS
    timeout -s INT -k 30 $((most < left ? most : left)) "$@" >"$dir/$name.log" 2>&1
    code=$?
    case $code in 0) word=ok ;; 124 | 137) word='out of time' ;; 130) word=stopped ;; *) word="FAILED ($code)" ;; esac
    [ $code = 0 ] || failed=$((failed + 1))
    note "$name" $((SECONDS - begun)) "$word: $(grep -v -e '^ *$' -e '^└' "$dir/$name.log" | tail -n 1 | cut -c 1-160)"
    return $code
}

note() { printf '%-10s %-22s %6s  %s\n' "$part" "$1" "$2" "$3" | tee -a "$out/summary.txt"; }

# trained NAME FILE OVERRIDES...: a run in the folder of runs, which goes on where it was stopped.
trained() {
    local name=$1 file=$2
    shift 2
    if [ -e "$out/runs/$name/resolved.yaml" ]; then
        run "$name" 3600 "$foil" train --resume "$out/runs/$name" --no-eval
    else
        run "$name" 3600 "$foil" train "$file" "$@" "${small_run[@]}" --run-dir "$out/runs/$name" --no-eval
    fi
}

compared() {
    local name=$1
    shift
    run "$name" 36000 "$foil" compare "$@" "${small_run[@]}" --dir "$out/$name" --out "$dir/table"
}

part_kernels() {
    if [ -x foil_tests ]; then
        run tests 600 ./foil_tests nn:: engine:: --nocapture --test-threads 1
    else
        run tests 600 cargo test --release -p foil-train --lib -- nn:: engine:: --nocapture --test-threads 1
    fi
    [ "$cpu$print" ] || grep -q 'kernels on Cuda' "$dir/tests.log" || { note tests - 'FAILED: they saw no GPU'; failed=$((failed + 1)); }
}

# both NAME FILE OVERRIDES...: two epochs captured and not; 1361 images are ten batches and an odd
# one.
both() {
    local name=$1 file=$2 how
    shift 2
    for how in off on; do
        run "$name.$how" 240 "${with[@]}" "$foil" train "$file" train.deterministic=true train.epochs=2 images.validation=0 images.train_limit=1361 images.test_limit=512 "$@" \
            "train.capture=$how" "${small_run[@]}" --run-dir "$dir/$name.run.$how" --no-eval
    done
    run "$name" 60 same "$dir/$name.run.off/last.safetensors" "$dir/$name.run.on/last.safetensors"
}

part_bits() {
    local method precision with=(env) bf16=train.precision=bf16
    [ "$print" ] || rm -rf "$dir"/*.run.* "$dir/killed"
    for method in at trades mart alp fat_trades cat_cent_0.05 cat_cw_0.05 mma; do both $method configs/cifar10/$method.yaml $bf16; done
    both at_resnet18 configs/cifar10/at.yaml $bf16 model=resnet18
    both at_wrn configs/cifar10/at_wrn.yaml $bf16 train.batch_size=64 images.train_limit=150
    for precision in tf32 fp32; do both at_$precision configs/cifar10/at.yaml train.precision=$precision; done
    with=(env FOIL_CONV=off)
    for method in at trades; do both $method.no_conv configs/cifar10/$method.yaml $bf16; done
    with=(env FOIL_OVERLAP=off)
    for method in at trades; do
        both $method.in_turn configs/cifar10/$method.yaml $bf16
        run $method.overlap 60 same "$dir/$method.in_turn.run.on/last.safetensors" "$dir/$method.run.on/last.safetensors"
    done
    run killed 240 killed "$dir/killed" "$foil" train configs/cifar10/at.yaml train.deterministic=true train.epochs=2 images.validation=0 images.train_limit=1361 images.test_limit=512 $bf16 \
        train.capture=on "${small_run[@]}" train.checkpoint_steps=3 --run-dir "$dir/killed" --no-eval
    run resumed 240 "$foil" train --resume "$dir/killed" --no-eval
    run at.resumed 60 same "$dir/killed/last.safetensors" "$dir/at.run.on/last.safetensors"
}

part_steps() {
    local bf16=train.precision=bf16
    run all 300 "$foil" bench --methods at,trades,mart,fat_trades,alp,cat_cent_0.05,cat_cw_0.05,mma --batch $batch $bf16 "${small_step[@]}" --runs $counted "--json=$dir/steps_128.json"
    run large 120 "$foil" bench --methods at,trades --batch $large $bf16 "${small_step[@]}" --runs $counted "--json=$dir/steps_512.json"
    run wrn 120 "$foil" bench --methods at_wrn --batch $batch $bf16 "${small_step[@]}" --runs 3 "--json=$dir/steps_wrn.json"
    run tf32 120 "$foil" bench --methods at,trades --batch $batch train.precision=tf32 "${small_step[@]}" --runs $counted "--json=$dir/steps_tf32.json"
    run fp32 120 "$foil" bench --methods at --batch $batch train.precision=fp32 "${small_step[@]}" --runs $counted "--json=$dir/steps_fp32.json"
    run mnist 120 "$foil" bench --configs configs/mnist --methods at,cat_cw --batch 100 train.precision=tf32 "${small_step[@]}" --runs $counted "--json=$dir/steps_mnist.json"
    run fp32_no_conv 120 env FOIL_CONV=off "$foil" bench --methods at --batch $batch train.precision=fp32 "${small_step[@]}" --runs $counted "--json=$dir/steps_fp32_no_conv.json"
    run no_conv 120 env FOIL_CONV=off "$foil" bench --methods at,trades --batch $batch $bf16 "${small_step[@]}" --runs $counted "--json=$dir/steps_no_conv.json"
    run in_turn 120 env FOIL_OVERLAP=off "$foil" bench --methods at,trades --batch $batch $bf16 "${small_step[@]}" --runs $counted "--json=$dir/steps_in_turn.json"
}

part_peers() {
    local small=()
    [ "$cpu" ] && small=(--device cpu --steps 1 --runs 3 --threads 1)
    run plain_128 240 "$python" "$peers" --modes plain,graph --methods at,trades,mart --batch $batch "${small[@]}"
    run wrn 120 "$python" "$peers" --model wide_resnet --modes plain --methods at --batch $batch --runs 3 "${small[@]}"
    run graph_512 120 "$python" "$peers" --modes graph --methods at,trades --batch $large "${small[@]}"
}

part_strongest() {
    local method
    [ "$cpu" ] && return
    for method in at trades; do run $method 300 "$python" "$peers" --modes compile --methods $method --batch $batch; done
}

part_start() {
    local method time
    for method in at trades mart; do
        for time in first second; do
            run $method.$time 60 "$foil" bench configs/cifar10/$method.yaml train.precision=bf16 "${small_step[@]}" --runs $((counted / 3 + 1)) "--json=$dir/$method.$time.json"
        done
    done
}

part_profile() {
    local method
    for method in at trades mart; do
        run $method 90 env FOIL_OVERLAP=off "$foil" profile configs/cifar10/$method.yaml train.precision=bf16 "${small_step[@]}" --runs $((counted / 3 + 1)) --top 60
    done
}

part_evaluation() {
    local judged=$out/runs/at_bf16
    trained at_bf16 configs/cifar10/fast/at.yaml train.precision=bf16
    run pgd100_tf32 120 "$foil" eval "$judged" 'evaluate=[natural,pgd100]' train.eval_precision=tf32 --out "$dir/pgd100_tf32.json"
    run pgd100_fp32 240 "$foil" eval "$judged" 'evaluate=[natural,pgd100]' train.eval_precision=fp32 --out "$dir/pgd100_fp32.json"
    run pgd100_fp32_no_conv 240 env FOIL_CONV=off "$foil" eval "$judged" 'evaluate=[natural,pgd100]' train.eval_precision=fp32 --out "$dir/pgd100_fp32_no_conv.json"
    run autoattack 1200 "$foil" eval "$judged" 'evaluate=[natural,autoattack]' train.eval_precision=tf32 --out "$dir/autoattack.json"
}

part_bf16() {
    local precision
    for precision in bf16 tf32; do
        trained at_$precision configs/cifar10/fast/at.yaml train.precision=$precision
        run judged_$precision 120 "$foil" eval "$out/runs/at_$precision" 'evaluate=[natural,pgd20]' train.eval_precision=tf32 --out "$dir/$precision.json"
    done
}

part_fast() { compared fast configs/cifar10/fast/{at,alp,mma,trades,mart,fat_trades,cat_cent,cat_cw}.yaml train.eval_precision=tf32; }

part_recipes() {
    compared recipes configs/cifar10/{at,trades,cat_cent_0.05,cat_cw_0.05}.yaml train.precision=bf16 train.eval_precision=tf32
    run table_2 60 "$foil" table 2 "$out/recipes" --out "$dir/table_2.txt"
}

part_mnist() {
    compared mnist configs/mnist/{at,trades,cat_cent,cat_cw}{,_eps04}.yaml train.precision=tf32 --seeds $seeds
    run table_1 60 "$foil" table 1 "$out/mnist" --out "$dir/table_1.txt"
}

part_gpus() {
    local device how with=(env) both=(torchrun --no-python --nproc-per-node 2)
    if [ ! "$print" ] && [ "$(nvidia-smi -L 2>/dev/null | wc -l)" -lt 2 ]; then
        note gpus - 'there are not two GPUs'
        return
    fi
    [ "$print" ] || rm -rf "$dir"/*.run "$dir/lost"
    local small=(train.precision=bf16 train.epochs=1 images.train_limit=12800)
    for device in 0 1; do
        for how in off on; do
            run cuda$device.$how 120 env FOIL_DEVICE=cuda:$device "$foil" train configs/cifar10/at.yaml "${small[@]}" train.deterministic=true train.capture=$how \
                --run-dir "$dir/cuda$device.$how.run" --no-eval
        done
    done
    for how in cuda0.on cuda1.off cuda1.on; do run $how.same 60 same "$dir/cuda0.off.run/last.safetensors" "$dir/$how.run/last.safetensors"; done
    for how in off on; do
        run two.$how 180 "${both[@]}" "$foil" train configs/cifar10/at.yaml "${small[@]}" train.capture=$how --run-dir "$dir/two.$how.run" --no-eval
    done
    run sync 180 "${both[@]}" "$foil" train configs/cifar10/at.yaml "${small[@]}" train.capture=on train.batch_norm=sync --run-dir "$dir/sync.run" --no-eval
    run one_steps 120 "$foil" bench --methods at,trades --batch 128,256 train.precision=bf16 --runs 12 "--json=$dir/one.json"
    run two_steps 120 "${both[@]}" "$foil" bench --methods at,trades --batch 128,256 train.precision=bf16 --runs 12 "--json=$dir/two.json"
    run lost 240 lost "$dir/lost" "$foil" train configs/cifar10/at.yaml train.precision=bf16 train.epochs=20 --run-dir "$dir/lost" --no-eval
}

[ "$print" ] || mkdir -p "$out/runs" || exit 1
if [ ! "$print" ]; then
    { date -u +%FT%TZ; nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; "$foil" doctor; } >"$out/machine.txt" 2>&1
    printf '%-10s %-22s %6s\n' part command s | tee -a "$out/summary.txt"
fi
for part in "${chosen[@]}"; do
    dir=$out/$part
    [ "$print" ] || mkdir -p "$dir" || exit 1
    ends=$((SECONDS + 60 * ${minutes:-$(echo "$PARTS" | grep "^$part " | cut -d '|' -f 2)}))
    "part_$part"
done
[ "$print" ] && exit
echo "in $out: summary.txt, machine.txt and a folder for each part; $failed commands failed or ran out of time"
[ $failed = 0 ]
