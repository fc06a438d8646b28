#!/usr/bin/env python3
"""Draws loss.csv as loss.svg: training loss and validation loss, both in bits per byte, over tokens."""
import csv, math
from pathlib import Path

HERE = Path(__file__).resolve().parent
BYTES_PER_TOKEN = 3.672                      # of the training text; turns nats per token into bits per byte
W, H, L, R, T, B = 760, 400, 60, 20, 30, 50  # picture and margins
LO, HI = 1.2, 2.2

rows = list(csv.DictReader((HERE / "loss.csv").open()))
train = [(int(r["tokens"]), float(r["train_loss"]) / math.log(2) / BYTES_PER_TOKEN) for r in rows]
valid = [(int(r["tokens"]), float(r["valid_bpb"])) for r in rows if r["valid_bpb"]]
decay = next(int(r["tokens"]) for r in rows if r["window"] == "512")
end = train[-1][0]
X = lambda t: L + (W - L - R) * t / end
Y = lambda v: T + (H - T - B) * (HI - min(v, HI)) / (HI - LO)
out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="13">',
       f'<rect width="{W}" height="{H}" fill="white"/>']
text = lambda x, y, s, a="middle", c="#333": out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{a}" fill="{c}">{s}</text>')
line = lambda x1, y1, x2, y2, c, e="": out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{c}" {e}/>')
for i in range(round((HI - LO) * 10) + 1):
    v = LO + i / 10
    line(L, Y(v), W - R, Y(v), "#e4e4e4")
    text(L - 8, Y(v) + 4, f"{v:.1f}", "end")
tick = 2_000_000 if end < 30_000_000 else 5_000_000
for t in range(0, end + 1, tick):
    text(X(t), H - B + 18, f"{t // 1_000_000}")
line(X(decay), T, X(decay), H - B, "#999", 'stroke-dasharray="4 4"')
text(X(decay) + 6, T + 14, "decay begins, windows of 512", "start", "#777")
line(L, H - B, W - R, H - B, "#333")
text((L + W - R) / 2, H - 12, "tokens seen (millions)")
text(L, T - 12, "bits per byte", "start")
for pts, c, w in ((train, "#7aa6d8", 1.5), (valid, "#c0392b", 2)):
    pts = [p for p in pts if p[1] <= HI]
    out.append(f'<polyline fill="none" stroke="{c}" stroke-width="{w}" points="'
               + " ".join(f"{X(t):.1f},{Y(v):.1f}" for t, v in pts) + '"/>')
for t, v in valid:
    if v <= HI:
        out.append(f'<circle cx="{X(t):.1f}" cy="{Y(v):.1f}" r="3" fill="#c0392b"/>')
text(W - R - 8, T + 40, "training text", "end", "#4a7ab5")
text(W - R - 8, T + 58, f"validation text ({valid[-1][1]:.3f} at the end)", "end", "#c0392b")
(HERE / "loss.svg").write_text("\n".join(out + ["</svg>"]) + "\n")
