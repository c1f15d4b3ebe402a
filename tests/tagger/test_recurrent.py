from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from structkd.tagger.recurrent import BiLSTM


def test_bilstm_is_the_bidirectional_lstm_over_packed_sequences() -> None:
    torch.manual_seed(0)
    ours = BiLSTM(3, 4, layers=2)
    theirs = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
    for layer in range(2):
        for suffix, direction in (("", ours.left_to_right), ("_reverse", ours.right_to_left)):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                parameter = getattr(theirs, f"{name}_l{layer}{suffix}")
                parameter.data.copy_(getattr(direction[layer], f"{name}_l0"))
    vectors, lengths = torch.randn(3, 5, 3), torch.tensor([5, 2, 1])
    mask = torch.arange(5) < lengths.unsqueeze(1)
    packed = pack_padded_sequence(vectors, lengths, batch_first=True)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    found = ours(vectors, mask)
    torch.testing.assert_close(found[mask], expected[mask])


def test_what_stands_on_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    lstm = BiLSTM(3, 4)
    vectors = torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    other = vectors.clone()
    other[1, 2:] = 100.0
    torch.testing.assert_close(lstm(vectors, mask)[mask], lstm(other, mask)[mask])
