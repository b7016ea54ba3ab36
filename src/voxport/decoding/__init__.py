"""Functions over logits: which token comes next, when to stop, and what the tokens say.

- `greedy`: the loop over steps, for any decoder that goes token by token.
- `whisper_rules`: Whisper's rules on what may come next, without waiting for the device.
- `whisper_segments`: Whisper's tokens to segments with times.
- `whisper_heads`, `whisper_attention`: which attention heads follow the audio, and what they say of tokens and frames.
- `dtw`: which frames belong to each token.
- `repetition`: loops, found and cut.
- `ctc`: the best path through CTC's frames, and the tokens that it emits.
- `ctc_seams`: the paths of overlapping windows to one path.
- `ctc_words`, `ctc_segments`: emissions to words and segments with times.
"""
