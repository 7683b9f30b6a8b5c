# make            build the program at build/vlm
# make demo       from a bare Debian machine to answers about the sample pictures
# make test       every test
# make check      what a contributor runs before a commit
# make install PREFIX=/usr/local
PREFIX ?= /usr/local
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: all packages configure demo test check install format clean

all: configure
	@cmake --build $(BUILD) --parallel $(JOBS) --target vlm_program
	@ln -sf bin/vlm $(BUILD)/vlm

packages:
	@tools/install_packages.sh

configure: packages
	@test -f $(BUILD)/build.ninja || cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release

demo: all
	@tools/demo.sh $(BUILD)/vlm

test: all
	@tests/run.sh $(BUILD)

check:
	@./check

install: all
	@cmake --install $(BUILD) --prefix $(PREFIX)

format:
	@git ls-files '*.h' '*.cc' '*.c' | xargs clang-format -i

clean:
	@rm -rf $(BUILD)
