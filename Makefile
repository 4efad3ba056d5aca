# audioprune: install, test, demonstrate, reproduce.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUNS   ?= runs
# TORCH_INDEX=<url of a wheel index> chooses another build of torch, for instance one for your GPU.
TORCH_INDEX ?=
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# pip compiles modules one by one, and all of them; these compile what is imported, wherever PYTHONDONTWRITEBYTECODE is set too.
KEEP   := PYTHONDONTWRITEBYTECODE= $(BIN)/python
APRUNE := $(BIN)/audioprune

.DEFAULT_GOAL := help
.PHONY: help install demo small results test test-slow test-faults fuzz audit mutants scale gpu-check bench bench-full shrink schema lint format docs report clean reproduce-p1 reproduce-p2 reproduce-p3 reproduce-p4

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

install: $(VENV)/.installed ## install into .venv (again: nothing to do)

$(VENV)/.installed: pyproject.toml requirements.txt constraints.txt
	@scripts/install.sh $(VENV) $(PYTHON) $(TORCH_INDEX)
	@touch $@

demo: install ## train, prune, quantize and score a speech enhancer on the embedded corpus
	$(APRUNE) prune experiment=p2/fdnn_demo pipeline=p2_unstructured pipeline.max_iterations=3 \
	  pipeline.method=bisection pipeline.iteration_metrics=[stoi] runtime.workers=1 \
	  pipeline.alpha_1_relative=0.03 pipeline.alpha_2_relative=0.003 runtime.folder=$(RUNS)/demo
	$(APRUNE) report runs=$(RUNS)/demo report=demo out=reports/demo

small: install ## the tier small of all four papers with three seeds, hours over a night; DRY=1 says how many; resumes
	$(BIN)/python scripts/run_small.py jobs=$(SMALL_JOBS) runs=$(RUNS)/small papers=$(PAPERS) $(if $(DRY),--dry-run)
SMALL_JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# PAPERS=p2,p4 runs these alone.
PAPERS ?=

results: install ## add what `make small` finished to docs/results/, and write its pages
	$(BIN)/python scripts/results.py runs=$(RUNS)/small

test: install ## the default test suite, on all cores
	$(KEEP) -m pytest -n auto --dist worksteal --assert=plain --showlocals

test-slow: install ## every test, the long ones too
	$(KEEP) -m pytest -n auto --dist worksteal -m "slow or not slow"

test-faults: install ## the tests that provoke faults: kill -9, full disks, damaged files (under 15 minutes); writes docs/reliability.md
	@mkdir -p $(RUNS) && rm -f $(FAULT_LOG)
	AUDIOPRUNE_FAULT_LOG=$(FAULT_LOG) $(KEEP) -m pytest -n auto --dist worksteal --assert=plain -m faults
	$(BIN)/python scripts/reliability_page.py $(FAULT_LOG)
FAULT_LOG = $(abspath $(RUNS))/faults.jsonl

# KINDS=packed,audio chooses readers; findings and inputs lie in runs/fuzz, and a second call goes on with them.
MINUTES ?= 10
KINDS   ?= packed,dense,pickled,schedule,results,audio,lists,caches
fuzz: install ## fuzz every reader of files for MINUTES (10) minutes each; fails where a case is found
	$(BIN)/python scripts/fuzz.py minutes=$(MINUTES) kinds=$(KINDS) out=$(RUNS)/fuzz

audit: install ## tiny runs of all four papers, whose printed numbers are computed a second time (minutes)
	scripts/audit_runs.sh $(APRUNE) $(RUNS)/audit reports/audit
	$(BIN)/python scripts/audit.py $(RUNS)/audit reports/audit cells=300

mutants: install ## how many of 300 small faults in the code the tests find (an hour or more)
	$(PIP) --editable .[mutants]
	$(BIN)/python scripts/mutants.py count=300

scale: install ## every paper-size experiment through its whole pipeline with few units (minutes each); writes docs/scale.md
	$(BIN)/python scripts/paper_size.py
	$(BIN)/python scripts/scale_page.py

gpu-check: install ## parity, throughput and two pipelines on a GPU, twelve minutes at most; writes docs/scale.md
	$(BIN)/python scripts/gpu_check.py; code=$$?; $(BIN)/python scripts/scale_page.py; exit $$code

# BENCH="kmeans optim" measures these alone; BENCH="--dry" records nothing.
BENCH ?=
$(VENV)/.peers: $(VENV)/.installed
	@$(PIP) --editable .[bench] || echo "some peers cannot be installed; they are left out" >&2
	@touch $@

bench: $(VENV)/.peers ## speed against other packages, each item's quick form, under ten minutes; writes docs/performance.md
	$(BIN)/python scripts/bench.py $(BENCH)

bench-full: $(VENV)/.peers ## the same with all sizes and more turns (an hour or more)
	$(BIN)/python scripts/bench.py --full $(BENCH)

# SHRINK="networks=silero_vad audio=/a/folder/of/speech" chooses networks and your own audio; a stopped call goes on.
SHRINK ?=
shrink: install ## how small the public networks become (an hour or more, resumes); writes docs/shrink.md
	$(PIP) --editable .[zoo]
	$(BIN)/python scripts/shrink.py runs=$(RUNS)/shrink $(SHRINK)

schema: install ## read the configuration's keys from the signatures again (after a change of an argument)
	$(BIN)/python scripts/write_schema.py

$(VENV)/.linted: $(VENV)/.installed
	@$(PIP) --editable .[lint]
	@touch $@

lint: $(VENV)/.linted ## format, style and types: silent when all is well
	@$(BIN)/python -m ruff format --quiet --check audioprune tests scripts || \
	  { echo "not formatted: make format"; exit 1; }
	@$(BIN)/python -m ruff check --quiet audioprune tests scripts
	@$(BIN)/python -m mypy --no-error-summary

format: $(VENV)/.linted ## format the code
	$(BIN)/python -m ruff format audioprune tests scripts
	$(BIN)/python -m ruff check --fix audioprune tests scripts

docs: install ## build the documentation into site/
	$(PIP) --editable .[docs]
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

reproduce-p1: install ## Plain & Biswas at desk scale: the published schedule for all its epochs, pruning after training, tables, listening test (resumes)
	@set -e; for seed in $(subst $(comma), ,$(SEEDS)); do \
	  own="runtime.folder=$(RUNS)/p1/seed$$seed seed=$$seed"; two="hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS)"; \
	  $(APRUNE) train -m $$own $$two experiment=p1/dcae_desk,p1/dcae10_desk $(P1_DATA); \
	  $(APRUNE) prune -m $$own $$two experiment=p1/dcae_desk pipeline=p1_sensitivity pipeline.calibrate.total_sparsity=null,0.47 $(P1_DATA); \
	  dense=$$(ls -td $(RUNS)/p1/seed$$seed/train/dcae-train-* | head -1); \
	  $(APRUNE) prune -m $$own $$two checkpoint=$$dense experiment=p1/dcae_desk pipeline=p1_post pipeline.calibrate.total_sparsity=null,0.47 $(P1_DATA); \
	  $(APRUNE) prune -m $$own $$two checkpoint=$$dense experiment=p1/dcae_desk pipeline=curves pipeline.group=element,filter \
	    'pipeline.metrics=[loss,l1,lsd,si_sdr,stoi,pesq_wb]' 'pipeline.sense_range=[0,0.95,0.1]' pipeline.sensitivity_items=3 $(P1_DATA); \
	  newest() { ls -td $(RUNS)/p1/seed$$seed/$$1-* | head -1; }; \
	  $(APRUNE) listen test=smaller systems.DCAE=$$dense systems.DCAE_pr=$$(newest prune/dcae-p1_sensitivity) \
	    systems.DCAE_10=$$(newest train/dcae10-train) $(or $(P1_DATA),data=coded_synthetic) data.peak=0.9 seed=$$seed out=reports/p1/listening-$$seed; \
	done
	$(APRUNE) report runs=$(RUNS)/p1 report=p1 out=reports/p1
comma := ,
# P1_DATA="data=vctk data.root=... data.split=holdout" chooses your own VCTK.
P1_DATA ?=

reproduce-p4: install ## Chen's sparse scene classifiers at desk scale: sweep, tables, figures, claims (about ten minutes)
	$(BIN)/python scripts/optimizer_toy.py --out $(RUNS)/p4/toy
	$(P4) experiment=p4/vgg_2018_desk pipeline=p4_baseline seed=$(P4_SEEDS)
	$(P4) experiment=p4/vgg_2018_desk pipeline=p4_reach pipeline.reach=1.8,2.0,2.1 seed=$(P4_SEEDS)
	$(P4) experiment=p4/vgg_2018_desk pipeline=p4_proxsg,p4_obproxsg,p4_admm,p4_literal seed=$(P4_REST)
	$(P4) experiment=p4/cp_resnet_2018_desk pipeline=p4_baseline model.rho=1,5,9 model.width=4 training.epochs=40 seed=$(P4_REST)
	$(APRUNE) report runs=$(RUNS)/p4 out=reports/p4 report=p4
# Claims are judged from three seeds on: P4_SEEDS=0,1,2 gives them to every network, and takes about three times as long.
P4_SEEDS ?= 0,1
P4_REST   = $(or $(filter-out 0$(comma)1,$(P4_SEEDS)),0)
P4 := $(APRUNE) prune -m runtime.folder=$(RUNS)/p4 hydra/launcher=joblib hydra.launcher.n_jobs=2

# DATA="data=noisy_mixtures data.speech_root=... data.noise_root=..." chooses your own audio; SEEDS=0,1,2 adds seeds; JOBS runs side by side.
DATA  ?=
SEEDS ?= 0
JOBS  ?= 2
P2    := $(APRUNE) prune -m runtime.folder=$(RUNS)/p2 seed=$(SEEDS) pipeline.sensitivity_items=8 $(DATA) \
         hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS)

# GCRN and TCNN have many tensors, whose tolerances add up: a finer one for each.
P2_FINE := pipeline.alpha_2_relative=0.001

reproduce-p2: install ## Tan & Wang at desk scale: four models, with and without regularisation, baselines, structured (about 40 minutes, resumes)
	$(P2) experiment=p2/fdnn_desk,p2/lstm_desk pipeline=p2_baseline pipeline.lambda_1=1 pipeline.max_iterations=3
	$(P2) experiment=p2/gcrn_desk,p2/tcnn_desk pipeline=p2_unstructured pipeline.lambda_1=1 pipeline.max_iterations=2 $(P2_FINE)
	$(P2) experiment=p2/gcrn_desk pipeline=p2_structured pipeline.unit_groups=true pipeline.max_iterations=2 $(P2_FINE)
	$(P2) experiment=p2/fdnn_desk,p2/lstm_desk pipeline=p2_unstructured pipeline.lambda_1=0 pipeline.max_iterations=3
	$(P2) experiment=p2/gcrn_desk,p2/tcnn_desk pipeline=p2_unstructured pipeline.lambda_1=0 pipeline.max_iterations=2 $(P2_FINE)
	$(APRUNE) report runs=$(RUNS)/p2/prune report=p2 out=reports/p2

P3    := $(APRUNE) prune -m runtime.folder=$(RUNS)/p3 pipeline.rewind=16it seed=$(SEEDS) \
         hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS)
P3_ALL := experiment=p3/ddsp_nsynth_desk,p3/sing_nsynth_desk,p3/wavenet_nsynth_desk

reproduce-p3: install ## Esling et al. at desk scale: lotteries of three tiny models, masked and trimmed, by all criteria (about 20 minutes, resumes)
	$(P3) $(P3_ALL) pipeline=p3_trim
	$(P3) $(P3_ALL) pipeline=p3_mask pipeline.scope=local,global
	$(P3) $(P3_ALL) pipeline=p3_trim pipeline.rounds=7 pipeline.criterion=magnitude,gradient,activation
	$(P3) experiment=p3/ddsp_nsynth_desk pipeline=p3_trim pipeline.rounds=7 pipeline.criterion=normalization
	$(P3) $(P3_ALL) pipeline=p3_trim pipeline.rounds=7 pipeline.scope=local pipeline.criterion=information,magnitude
	$(P3) $(P3_ALL) pipeline=p3_trim pipeline.rounds=7 pipeline.reset=reinit
	$(P3) $(P3_ALL) pipeline=p3_mask pipeline.rounds=7 pipeline.reset=reinit
	$(P3) $(P3_ALL) pipeline=p3_trim pipeline.reset=rescale
	$(APRUNE) report runs=$(RUNS)/p3 report=p3 out=reports/p3

report: install ## tables, figures and page of everything under runs/
	$(APRUNE) report runs=$(RUNS)

clean: ## remove runs, reports and caches (not the environment)
	rm -rf $(RUNS) reports build dist mutants mutants.log *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -exec rm -rf {} +
