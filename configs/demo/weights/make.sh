#!/bin/sh
# Trains the networks of `foil demo` that come with foil, and writes their weights here in half
# precision. One thread, so that the bits do not depend on the number of cores. In a clone:
#   configs/demo/weights/make.sh [FOLDER FOR THE RUNS]
set -eu
cd "$(dirname "$0")/../../.."
runs=${1:-runs/demo_weights}
foil=${FOIL:-cargo foil}
export OMP_NUM_THREADS=1
weights=configs/demo/weights
for name in at trades cat_cw; do
    $foil train "$weights/$name.yaml" device=cpu --no-eval --run-dir "$runs/$name"
    $foil export "$runs/$name" --format safetensors --half --out "$weights/$name.safetensors"
done
$foil export "$runs/cat_cw/best_mask.safetensors" --format safetensors --half --out "$weights/cat_cw_mask.safetensors"
