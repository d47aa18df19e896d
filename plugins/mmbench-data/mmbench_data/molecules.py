"""Reads molecules from an SD file and describes them by numbers, from the drawn graph alone: no chemistry package.

Source: CTfile formats, V2000 (https://discover.3ds.com/ctfile-documentation-request-form).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mmbench.errors import DataError

# Standard atomic weights, and how many bonds an uncharged atom makes: the least of these that holds its drawn bonds.
WEIGHTS = {
    "H": 1.008, "B": 10.81, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Si": 28.085, "P": 30.974,
    "S": 32.06, "Cl": 35.45, "Br": 79.904, "I": 126.904,
}  # fmt: skip
VALENCES = {
    "B": (3,), "C": (4,), "N": (3, 5), "O": (2,), "F": (1,), "Si": (4,), "P": (3, 5), "S": (2, 4, 6), "Cl": (1,),
    "Br": (1,), "I": (1,),
}  # fmt: skip
CHARGES = {"1": 3, "2": 2, "3": 1, "5": -1, "6": -2, "7": -3}  # the atom line's code; "M  CHG" lines say it plainly
COUNTED = ("C", "N", "O", "F", "Cl", "Br", "I", "S", "P")

DESCRIPTORS = (
    *(f"atoms of {element}" for element in COUNTED),
    "weight", "heavy atoms", "hydrogens", "share of carbon", "single bonds", "double bonds", "triple bonds", "rings",
    "atoms in rings", "unsaturated atoms in rings", "turnable bonds", "ends", "branches", "hydrogens on N or O",
    "N and O", "parts",
)  # fmt: skip


@dataclass(frozen=True)
class Molecule:
    elements: tuple[str, ...]
    charges: tuple[int, ...]
    bonds: tuple[tuple[int, int, int], ...]
    """(atom, atom, order)"""
    fields: dict[str, str]


def molecules(text: str) -> Iterator[Molecule]:
    """The molecules of an SD file. Raises DataError for a block that isn't V2000."""
    for number, block in enumerate(text.replace("\r\n", "\n").split("$$$$\n"), 1):
        if block.strip():
            try:
                yield _molecule(block.splitlines())
            except (ValueError, IndexError) as error:
                raise DataError(f"molecule {number} of the SD file can't be read: {error}") from error


def _molecule(lines: list[str]) -> Molecule:
    atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
    rows = lines[4 : 4 + atoms]
    drawn = lines[4 + atoms : 4 + atoms + bonds]
    rest = lines[4 + atoms + bonds :]
    charges = [CHARGES.get(row[36:39].strip(), 0) for row in rows]
    fields: dict[str, str] = {}
    for n, line in enumerate(rest):
        if line.startswith("M  CHG"):
            numbers = [int(part) for part in line.split()[3:]]
            for atom, charge in zip(numbers[::2], numbers[1::2], strict=True):
                charges[atom - 1] = charge
        if line.startswith(">"):
            fields[line.partition("<")[2].partition(">")[0]] = rest[n + 1].strip()
    return Molecule(
        elements=tuple(row[31:34].strip() for row in rows),
        charges=tuple(charges),
        bonds=tuple((int(row[:3]) - 1, int(row[3:6]) - 1, int(row[6:9])) for row in drawn),
        fields=fields,
    )


def describe(molecule: Molecule) -> list[float]:
    """The numbers that DESCRIPTORS names."""
    elements, bonds = molecule.elements, molecule.bonds
    degree, order = Counter[int](), Counter[int]()
    for a, b, bond in bonds:
        for atom in (a, b):
            degree[atom] += 1
            order[atom] += bond
    hydrogens = [_hydrogens(e, c, order[n]) for n, (e, c) in enumerate(zip(elements, molecule.charges, strict=True))]
    ring_bonds = _ring_bonds(molecule)
    in_ring = {atom for n in ring_bonds for atom in bonds[n][:2]}
    unsaturated = {atom for a, b, bond in bonds if bond > 1 for atom in (a, b)}
    turnable = [
        n for n, (a, b, bond) in enumerate(bonds)
        if bond == 1 and n not in ring_bonds and degree[a] > 1 and degree[b] > 1
    ]  # fmt: skip
    parts = len(_parts(molecule, skip=None))
    orders = Counter(bond for _, _, bond in bonds)
    polar = [n for n, element in enumerate(elements) if element in ("N", "O")]
    return [
        *(float(elements.count(element)) for element in COUNTED),
        sum(WEIGHTS.get(element, 0.0) for element in elements) + WEIGHTS["H"] * sum(hydrogens),
        len(elements), sum(hydrogens), elements.count("C") / len(elements), orders[1], orders[2], orders[3],
        len(bonds) - len(elements) + parts, len(in_ring), len(in_ring & unsaturated), len(turnable),
        sum(degree[n] == 1 for n in range(len(elements))), sum(degree[n] > 2 for n in range(len(elements))),
        sum(hydrogens[n] for n in polar), len(polar), parts,
    ]  # fmt: skip


def _hydrogens(element: str, charge: int, bonds: int) -> int:
    """How many hydrogens the drawing leaves out at an atom."""
    # A charge adds a bond to N+ or O+ and takes one from O- or C-.
    shift = charge if element in ("N", "O", "S", "P") else -abs(charge)
    room = [valence + shift for valence in VALENCES.get(element, ())]
    return next((valence - bonds for valence in room if valence >= bonds), 0)


def _ring_bonds(molecule: Molecule) -> set[int]:
    """The bonds whose removal leaves the molecule in as many parts as before."""
    whole = len(_parts(molecule, skip=None))
    return {n for n in range(len(molecule.bonds)) if len(_parts(molecule, skip=n)) == whole}


def _parts(molecule: Molecule, *, skip: int | None) -> set[int]:
    """One atom of each connected part, with the bond `skip` left out."""
    root = list(range(len(molecule.elements)))

    def top(atom: int) -> int:
        while root[atom] != atom:
            root[atom] = root[root[atom]]
            atom = root[atom]
        return atom

    for n, (a, b, _) in enumerate(molecule.bonds):
        if n != skip:
            root[top(a)] = top(b)
    return {top(atom) for atom in range(len(root))}
