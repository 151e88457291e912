"""The `content` variant: the same scenes told of other subjects, in rarer and longer terms that `base` never uses."""

from dataclasses import replace

import numpy as np

from .scenes import Mark, Scene

SUBJECTS: dict[str, tuple[str, ...]] = {
    name: tuple(terms.split("|"))
    for name, terms in {
        "engineering": "Girder|Turbine|Gearbox|Flange|Bearing|Camshaft|Rotor|Stator|Piston|Gasket|Bolt M8|Crankshaft|"
        "Manifold|Nozzle|Pulley|Shear|Torque|Damping|Fatigue|Weld seam|Yield limit|Heat sink|Truss|Actuator|Conduit",
        "electronics": "Diode|Inverter|Op-amp|Relay|Oscillator|Comparator|Register|Flip-flop|Decoder|Bandgap|Latch|"
        "Bus width|Clock skew|Setup time|Cache miss|Pipeline|Throughput|Jitter|Crosstalk|Rise time|Buffer|Codec",
        "biology": "Enzyme|Ribosome|Nucleus|Membrane|Mitosis|Meiosis|Plasmid|Genome|Allele|Codon|Stamen|Xylem|Phloem|"
        "Lipid|Glucose|Insulin|Receptor|Antigen|Synapse|Axon|Dendrite|Larva|Pupa|Biofilm|Spore|Hyphae|Cuticle",
        "medicine": "Placebo arm|Dosage|Systolic|Diastolic|Relapse|Remission|Biopsy|Lesion|Fracture|Edema|Sepsis|"
        "Anemia|Asthma|Stenosis|Polyp|Ulcer|Gastritis|Triage|Serum|Plasma|Platelets|Renal|Hepatic|Cardiac|Vaccine|Antibody",
        "economics": "Tariff|Subsidy|Inflation|Deficit|Surplus|Dividend|Equity|Bond yield|Leverage|Liquidity|Mortgage|"
        "Payroll|Turnover|Revenue|Overhead|Net margin|Gross profit|Hedging|Audit|Credit|Debit|Asset|Liability|Quota",
        "law": "Statute|Verdict|Appeal|Plaintiff|Defendant|Tort|Contract|Felony|Custody|Warrant|Bail|Patent|Trademark|"
        "Copyright|Tenancy|Probate|Treaty|Sanction|Ballot|Mandate|Senate|Cabinet|Veto|Charter",
        "chemistry": "Benzene|Ethanol|Methane|Ammonia|Acetone|Glycerol|Toluene|Nitrate|Sulfate|Chloride|Oxide|Polymer|"
        "Catalyst|Titration|Solvent|Isotope|Molarity|Enthalpy|Entropy|Acid|Alkali|Ester|Ketone|Phenol|Peroxide",
        "geology": "Granite|Basalt|Gneiss|Schist|Marble|Shale|Limestone|Sandstone|Quartz|Feldspar|Mica|Magma|Caldera|"
        "Moraine|Fault line|Aquifer|Sediment|Erosion|Tectonics|Jurassic|Triassic|Devonian|Permian|Holocene",
        "astronomy": "Nebula|Quasar|Pulsar|Supernova|Red dwarf|Asteroid|Eclipse|Parallax|Redshift|Corona|Sunspot|"
        "Equinox|Solstice|Galaxy|Meteor|Kepler|Hubble|Galileo|Cassini|Voyager|Ganymede|Callisto|Europa",
        "computing": "Compiler|Kernel|Firewall|Router|Gateway|Database|Index scan|Hash map|Heap sort|Quicksort|"
        "Recursion|Tokenizer|Gradient|Dropout|Encoder|Overfit|Bagging|Boosting|Latency|Bandwidth|Checksum|Cipher",
        "psychology": "Memory span|Attention|Recall|Priming|Anxiety|Empathy|Stimulus|Response|Baseline|Fixation|"
        "Saccade|Stroop|Flanker|N-back|Arousal|Mood|Habit|Reward|Bias|Schema|Cue|Probe|Mask|Fatigue",
    }.items()
}
_SEA_CREATURES = (
    ("Kelp", "Plankton", "Diatoms", "Seagrass", "Detritus", "Red algae", "Sargassum", "Lichen"),
    ("Krill", "Mussel", "Urchin", "Copepod", "Herring", "Limpet", "Abalone", "Sardine", "Anchovy"),
    ("Orca", "Seal", "Cod", "Penguin", "Octopus", "Sea otter", "Tuna", "Walrus", "Gannet", "Halibut"),
)


def _terms(scene: Scene, rng: np.random.Generator) -> list[str]:
    """New names for the marks, in their order."""
    n = len(scene.marks)
    if scene.task in ("layout", "annotated"):  # numbers instead of letters
        return [str(number) for number in rng.permutation(90)[:n] + 10]
    if scene.kind == "states":
        return [f"q{number}" for number in rng.permutation(20)[:n]]
    if scene.kind == "circuit":  # numbered on from elsewhere in a larger plan
        first = int(rng.integers(10, 60))
        return [f"{mark.label[0]}{first + int(mark.label[1:])}" for mark in scene.marks]
    if scene.kind == "food_web":
        rows = [list(rng.permutation(row)) for row in _SEA_CREATURES]
        return [str(rows[int(mark.value)].pop()) for mark in scene.marks]
    if any(mark.state == "hidden" for mark in scene.marks):
        return [mark.label for mark in scene.marks]  # a missing step can only be told in a known order
    terms = SUBJECTS[list(SUBJECTS)[rng.integers(len(SUBJECTS))]]
    return [str(term) for term in rng.permutation(terms)[:n]]


def retell(scene: Scene, rng: np.random.Generator) -> Scene:
    """
    The same scene told of another subject.

    Args:
        scene (`Scene`): as `base` has it.
        rng (`np.random.Generator`): chooses subject and terms.

    Returns:
        `Scene`: with other names; marks that have none stay without. All else is the same, so that programs, set
            sizes and all answers that are not names stay as they are.
    """
    names = _terms(scene, rng)
    marks: list[Mark] = [
        replace(mark, label=name if mark.label else "") for mark, name in zip(scene.marks, names, strict=True)
    ]
    x_labels = scene.x_labels
    if x_labels and not x_labels[0].isdigit():
        free = [term for terms in SUBJECTS.values() for term in terms if term not in names]
        x_labels = tuple(str(term) for term in rng.permutation(free)[: len(x_labels)])
    return replace(scene, marks=marks, x_labels=x_labels)
