"""Parts of a solve in compiled programs: functions that take some of its steps again, and sweep them back.

The loops of a family are called for a range of steps: with the addresses of the range's increments, nodes and outputs, and from a state and
slope that were kept.  ``sweep.sweep`` calls these functions; what they know of the program around them is handed over in a frame of words.
"""

from diffsim.codegen.loops import double


class Frame:
    """Words that hold the addresses and numbers a part needs; constants are written where they are used."""

    def __init__(self):
        self.words = {}

    def at(self, operand, kind):
        """Number of the word of an operand of the program around."""
        return self.words.setdefault((operand, kind), len(self.words))

    def store(self, k):
        """Write the words; returns their address and how many there are."""
        address = k.alloca(max(len(self.words), 1), "i64")
        for (operand, kind), i in self.words.items():
            k.store(k.line(f"getelementptr i64, ptr {address}, i64 {i}"), operand, kind)
        return address, len(self.words)


class Part:
    """Text of one function ``i64 name(ptr frame, ptr y, ptr slope, i64 first, i64 last, ...)``."""

    def __init__(self, k, frame, name, *more):
        self.k, self.frame, self.name, self.more, self.lines, self._have = k, frame, name, more, [], {}

    def line(self, code):
        """Append an instruction; returns its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {code}")
        return name

    def outer(self, operand, kind):
        """An operand of the program around, here; constants are what they are."""
        if not isinstance(operand, str):
            return double(operand) if kind == "double" else str(int(operand))
        if not operand.startswith("%"):
            return operand
        if (operand, kind) not in self._have:
            address = self.line(f"getelementptr i64, ptr %frame, i64 {self.frame.at(operand, kind)}")
            self._have[operand, kind] = self.line(f"load {kind}, ptr {address}")
        return self._have[operand, kind]

    def row(self, operand, i, size=1):
        """Address of element i * size of an array of the program around."""
        offset = i if size == 1 else self.line(f"mul i64 {i}, {size}")
        return self.line(f"getelementptr double, ptr {self.outer(operand, 'ptr')}, i64 {offset}")

    def call(self, symbol, signature, values, here):
        """Call a loop: ``values`` are operands of the program around, ``here`` operands of this function by name."""
        arguments = ", ".join(f"{kind} {here[name] if name in here else self.outer(values[name], kind)}" for name, kind in signature)
        self.k.printer.text.declare(symbol, "i64", [kind for _, kind in signature])
        return self.line(f"call i64 @{symbol}({arguments})")

    def finish(self):
        """Add the function to the program."""
        formal = "".join(f", i64 %{name}" for name in self.more)
        self.k.printer.text.functions.append("\n".join([
            f"define i64 @{self.name}(ptr %frame, ptr %y, ptr %slope, i64 %first, i64 %last{formal}) {{", *self.lines, "}", ""]))


def again(k, frame, loop, signature, values):
    """Symbol of a function that takes steps ``first .. last - 1`` again, with their stages, and ``count`` outputs from number ``begin`` on.

    ``values`` are those of a call of the forward loop over the whole mesh, with the arrays of one part where stages are recorded.
    """
    part = Part(k, frame, k.unique("again"), "begin", "count")
    steps = part.line("sub i64 %last, %first")
    end = part.line(f"load double, ptr {part.row(values['nodes'], '%last')}")
    status = part.call(loop, signature, values, {
        "y": "%y", "ks": "%slope", "replay": steps, "cap": steps, "span": end, "m": "%count", "n_out": "0",
        "sigma": part.row(values["sigma"], "%begin"), "mesh": part.row(values["mesh"], "%first"),
        "nodes": part.row(values["nodes"], "%first")})
    part.lines.append(f"  ret i64 {status}")
    part.finish()
    return part.name


def walking(k, frame, taking):
    """Symbol of ``ds_walk``: the steps alone."""
    part = Part(k, frame, k.unique("walk"))
    status = part.line(f"call i64 @{taking}(ptr %frame, ptr %y, ptr %slope, i64 %first, i64 %last, i64 0, i64 0)")
    part.lines.append(f"  ret i64 {status}")
    part.finish()
    return part.name


def reversing(k, frame, taking, loop, signature, values, whole):
    """Symbol of ``ds_reverse``: the steps once more, unless ``whole`` has the stages of all, and the adjoint over them.

    Parameters
    ----------
    taking : str
        Symbol of :func:`again`.
    loop, signature, values
        The adjoint loop and a call of it over the whole mesh; ``stages`` and ``room`` are those of one part.
    whole : (str, str, str)
        i64 whether the stages of all steps are at hand, their address, and i64 room for how many.
    """
    part = Part(k, frame, k.unique("reverse"), "begin", "end")
    steps, count = part.line("sub i64 %last, %first"), part.line("sub i64 %end, %begin")
    flag = part.line(f"icmp ne i64 {part.outer(whole[0], 'i64')}, 0")
    stages = part.line(f"select i1 {flag}, ptr {part.outer(whole[1], 'ptr')}, ptr {part.outer(values['stages'], 'ptr')}")
    room = part.line(f"select i1 {flag}, i64 {part.outer(whole[2], 'i64')}, i64 {part.outer(values['room'], 'i64')}")
    here = {
        "m": count, "cap": steps, "steps": steps, "room": room, "stages": stages, "sigma": part.row(values["sigma"], "%begin"),
        "out_bar": part.row(values["out_bar"], "%begin", values["n_out"]), "mesh": part.row(values["mesh"], "%first"),
        "nodes": part.row(values["nodes"], "%first"),
    }
    for name, kind in signature:                           # loads stand before the branch
        if name not in here:
            part.outer(values[name], kind)
    part.lines.append(f"  br i1 {flag}, label %sweep, label %take")
    part.lines.append("take:")
    taken = part.line(f"call i64 @{taking}(ptr %frame, ptr %y, ptr %slope, i64 %first, i64 %last, i64 %begin, i64 {count})")
    bad = part.line(f"icmp ne i64 {taken}, 0")
    part.lines.append(f"  br i1 {bad}, label %failed, label %sweep")
    part.lines.append("failed:")
    part.lines.append(f"  ret i64 {taken}")
    part.lines.append("sweep:")
    status = part.call(loop, signature, values, here)
    part.lines.append(f"  ret i64 {status}")
    part.finish()
    return part.name
