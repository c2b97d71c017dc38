"""The values of a network's parameters as a definition gives them, drawn one after the other."""

import math

import torch


class Reference:
    """What a definition says: values by parameter name; query, key and value of one matrix have a name each."""

    def __init__(self, case, seed):
        self.shapes, self.parts = {}, {}
        self.packed = case.structure.slices
        for name, p in case.model.named_parameters():
            for piece in self.packed.get(name, (None,)):
                own = f"{name}:{piece.part}" if piece else name
                self.shapes[own] = (piece.stop - piece.start, *p.shape[1:]) if piece else tuple(p.shape)
                self.parts[own] = piece.part if piece else case.structure.parts[name]
        self.model, self.x = case.model, case.x
        self.branches = case.structure.branches
        self.heads = case.structure.heads
        self.generator = torch.Generator().manual_seed(seed)
        self.values = {}

    def named(self, *parts):
        return [name for name in self.shapes if self.parts[name] in parts]

    def matrices(self):
        return [name for name in self.shapes if self.parts[name] not in ("norm", "bias")]

    def body(self):
        return [name for name in self.matrices() if self.parts[name] != "head"]

    def normal(self, name, std):
        self.values[name] = torch.empty(self.shapes[name]).normal_(0, std, generator=self.generator)

    def uniform(self, name, bound):
        self.values[name] = torch.empty(self.shapes[name]).uniform_(-bound, bound, generator=self.generator)

    def constant(self, name, value):
        self.values[name] = torch.full(self.shapes[name], float(value))

    def scalar(self, name, value):
        self.values[name] = torch.tensor([float(value)])

    def fans(self, name):
        out, inputs, *kernel = self.shapes[name]
        return inputs * math.prod(kernel), out * math.prod(kernel)

    def he(self, name, factor=1.0, mode="fan_out"):
        fan_in, fan_out = self.fans(name)
        self.normal(name, factor * math.sqrt(2 / (fan_out if mode == "fan_out" else fan_in)))

    def torch_default(self, name):
        self.uniform(name, 1 / math.sqrt(self.fans(name)[0]))

    def orthogonal(self, rows, columns):
        """Q of a Gaussian, with the signs that make it uniform (Mezzadri 2007)."""
        wide = rows < columns
        gaussian = torch.empty(rows, columns).normal_(generator=self.generator)
        q, r = torch.linalg.qr(gaussian.T if wide else gaussian)
        q = q * r.diagonal().sign()
        return q.T if wide else q

    def xavier(self, name, gain=1.0, distribution="uniform"):
        std = gain * math.sqrt(2 / sum(self.fans(name)))
        if distribution == "normal":
            self.normal(name, std)
        else:
            self.uniform(name, math.sqrt(3) * std)

    def whole(self):
        """The values by the names of parameters."""
        values = dict(self.values)
        for name, pieces in self.packed.items():
            if name not in values:
                values[name] = torch.cat([values.pop(f"{name}:{piece.part}") for piece in pieces])
        return values

    def norms_and_biases(self):
        for name in self.shapes:
            if self.parts[name] == "bias" or (self.parts[name] == "norm" and name.endswith(".bias")):
                self.constant(name, 0)
            elif self.parts[name] == "norm":
                self.constant(name, 1)
