"""The explanation of a step program: its table of temporal types as text."""

from co3d.stream.program import StepProgram


def format_program(program: StepProgram) -> str:
    """One line per value that matters in time, then the program's figures and approximations."""
    header = ("value", "module", "operator", "stride", "delay", "field", "state kB", "kMACs")
    table = [header] + [
        (
            row.name,
            row.module_path,
            row.operator,
            str(row.stride),
            str(row.delay),
            str(row.receptive_field),
            f"{row.state_bytes / 1e3:.1f}" if row.state_bytes else "",
            f"{row.macs / 1e3:,.1f}" if row.macs else "",
        )
        for row in program.rows
    ]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    lines = []
    for line in table:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines += ["", *format_figures(program)]
    return "\n".join(lines)


def format_figures(program: StepProgram) -> list[str]:
    """The figures that sum a program up, a line each."""
    ratio = program.clip_macs / max(program.macs_per_frame, 1)
    lines = [
        f"receptive field {program.receptive_field} frames, delay {program.delay}, "
        f"window {program.window or 'none'}, first valid step {program.first_valid_step}",
        f"state {program.state_bytes / 1e6:.2f} MB per stream",
        f"{program.macs_per_frame / 1e6:,.1f} M MACs per frame; a clip of "
        f"{program.clip_frames} frames {program.clip_macs / 1e6:,.1f} M, {ratio:.1f} times as many",
    ]
    if program.approximations:
        lines.append(f"{len(program.approximations)} approximations:")
        lines += [f"  {line}" for line in program.approximations]
    else:
        lines.append("no approximations: steps equal the clip network")
    return lines
