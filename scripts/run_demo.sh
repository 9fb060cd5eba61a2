#!/usr/bin/env bash
# From nothing to a trained, evaluated and exported detector on drawn images, in about ten minutes.
# Arguments are flags of train.py, eval.py and export.py, e.g. --backbone=resnet18.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh requirements.txt

config=config/ssd_resnet50_fpn_demo.yaml
data=data/shapes
output=output/demo-$(date +%Y%m%d-%H%M%S)  # a folder of its own: nothing is overwritten
started=$SECONDS

echo "== data set: $data"
"$PYTHON" -m src.data.synthetic "$data"
echo "== training: $config"
"$PYTHON" train.py --config_path="$config" --output_path="$output" "$@"
echo "== evaluation"
"$PYTHON" eval.py --config_path="$config" --checkpoint_path="$output/ckpt/best.ckpt" \
  --output_path="$output" "$@"
echo "== export"
"$PYTHON" export.py --config_path="$config" --checkpoint_path="$output/ckpt/best.ckpt" \
  --file_name="$output/detector.mindir" "$@"

cat <<EOF

done in $(( (SECONDS - started) / 60 )) min $(( (SECONDS - started) % 60 )) s
  checkpoint   $output/ckpt/best.ckpt
  log          $output/log.txt, $output/metrics.jsonl
  pictures     $output/report/pictures
  exported     $output/detector.mindir
EOF
