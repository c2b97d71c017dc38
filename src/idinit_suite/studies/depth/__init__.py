"""Networks at growing depth."""
