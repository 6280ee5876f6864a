"""Layers of random networks that see the newest frames, as many as the exported clip has."""

from support.random_layers import Draft, Value, activation, batch_norm


def norm_over_time(net: Draft, x: Value) -> Value:
    """A norm by the statistics of the clip (of the newest frames, in a stream)."""
    if net.options["scope"] != "window":
        return batch_norm(net, x)
    groups = net.pick(x.channels, 1, *([2] if x.channels % 2 == 0 else []))
    return net.write(x, f"norm({x.name}, {groups}, self.scope, {x.lengths[0]})")


def attention_over_time(net: Draft, x: Value) -> Value:
    """Every place attends to all places of the clip (of the newest frames, in a stream)."""
    if net.options["scope"] != "window":
        return activation(net, x)
    kind = net.pick("softmax", "one", "counted")
    seen = f"attend({x.name}, '{kind}', self.scope, {x.lengths[0]})"
    return net.write(x, f"{x.name} + {seen}")
