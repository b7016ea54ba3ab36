"""Google's MedASR (model type ``lasr_ctc``: Conformer and CTC) on our own plain-torch modules.

- `model`: `LasrModel`, the model contract.
- `net`: the network.
- `ranges`: whether float16 was wide enough.
- `checkpoint`: a published folder to a network.
- `random_weights`: a folder of the true shape without Google's weights.
"""

from voxport.models.lasr.model import LasrModel

__all__ = ["LasrModel"]
