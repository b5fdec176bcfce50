# make            the library, built for release
# make install    into $(DESTDIR)$(PREFIX): shared object, static archive, header, pkg-config, CMake
# make stage      the same, built fast, into target/stage, where the tests and examples find it
# make demo       the main job from end to end, against a simulated vCenter
# make check      what a change must pass before it is committed: format, lints, documentation, licences
# make test       all tests
# make test-faults   every fault at every point of each operation, of which make test takes a sample
# make test-system   every kill, failing system call and host's trouble, of which make test takes a sample
# make test-network  20,000 faults of the network, of which make test takes a sample
# make soak       32 threads for ten rounds, 200 backups in a row
# make fuzz       each fuzzer for FUZZ_SECONDS (60)
# make bench      speed and memory beside other programs; BENCH=quick for a look

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR ?=
PROFILE ?= release
CARGO ?= cargo
INSTALL ?= install
OBJCOPY ?= objcopy

# Compression with ISA-L, where the tools that build it are there: FEATURES= leaves it out.
HAVE = $(shell command -v $(1) 2>/dev/null)
FEATURES ?= $(if $(and $(call HAVE,nasm),$(call HAVE,autoreconf),$(call HAVE,libtoolize)),igzip)

TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')

# What a build depends on beside its sources. The stamp changes with it, and the library is built anew then: tools that
# were installed later, or other flags, would otherwise change nothing.
STAMP := $(BUILT)/build-settings
SETTINGS = $(FEATURES) | $(PROFILE) | $(RUSTFLAGS) | $(CARGO_ENCODED_RUSTFLAGS) | $(CARGO)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(word 1,$(subst ., ,$(VERSION)))
MINOR := $(word 2,$(subst ., ,$(VERSION)))
# Before 1.0 a minor version may break what the one before it promised.
ABI := $(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))
SONAME := libvmdk_backup.so.$(ABI)

.PHONY: all lib install stage force

all: lib
lib: $(BUILT)/libvmdk_backup.so $(BUILT)/install/libvmdk_backup.a

$(STAMP): force
	@mkdir -p $(@D)
	@echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' > $@

# Both at once, and not as a Rust library too, which would switch link-time optimisation off. The
# shared object cannot be unloaded: threads and thread-local destructors outlive a dlclose().
$(BUILT)/libvmdk_backup.so $(BUILT)/libvmdk_backup.a &: $(SOURCES) $(STAMP)
	$(CARGO) rustc --lib --profile $(PROFILE) --features '$(FEATURES)' --crate-type cdylib,staticlib -- \
	    --cfg c_library -C link-arg=-Wl,-soname,$(SONAME) -C link-arg=-Wl,-z,nodelete
	touch $(BUILT)/libvmdk_backup.so $(BUILT)/libvmdk_backup.a

# As Rust makes it, the archive has tens of thousands of global symbols that could clash with
# another Rust library's: here all but ours become local. Groups are dissolved: linkers keep one of
# each name, and the local symbols of the group of another archive would stay without a definition.
# The standard library's bitcode goes, since the linker joined it to something that tools with an
# LLVM plugin choke on.
$(BUILT)/install/libvmdk_backup.a: $(BUILT)/libvmdk_backup.a
	mkdir -p $(@D)
	rm -f $@
	$(LD) -r --force-group-allocation --whole-archive -o $(@D)/vmdk_backup.o $<
	$(OBJCOPY) --wildcard --keep-global-symbol='vmdk_*' \
	    --remove-section=.llvmbc --remove-section=.llvmcmd $(@D)/vmdk_backup.o
	$(AR) rcs $@ $(@D)/vmdk_backup.o
	rm -f $(@D)/vmdk_backup.o

FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
    -e 's|@VERSION@|$(VERSION)|' -e 's|@SONAME@|$(SONAME)|'

install: lib
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/vmdk_backup $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 include/vmdk_backup.h $(DESTDIR)$(INCLUDEDIR)/
	$(INSTALL) -m 755 $(BUILT)/libvmdk_backup.so $(DESTDIR)$(LIBDIR)/libvmdk_backup.so.$(VERSION)
	ln -sf libvmdk_backup.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libvmdk_backup.so
	$(INSTALL) -m 644 $(BUILT)/install/libvmdk_backup.a $(DESTDIR)$(LIBDIR)/
	$(FILL) include/vmdk_backup.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/vmdk_backup.pc
	$(FILL) include/vmdk_backup-config.cmake.in > $(DESTDIR)$(LIBDIR)/cmake/vmdk_backup/vmdk_backup-config.cmake
	$(FILL) include/vmdk_backup-config-version.cmake.in > $(DESTDIR)$(LIBDIR)/cmake/vmdk_backup/vmdk_backup-config-version.cmake

stage:
	$(MAKE) install PROFILE=dev FEATURES= DESTDIR= PREFIX=$(abspath $(TARGET))/stage \
	    LIBDIR=$(abspath $(TARGET))/stage/lib INCLUDEDIR=$(abspath $(TARGET))/stage/include

.PHONY: check demo demo-prefix bench test test-system test-faults test-network soak fuzz clean

# Sets everything up and runs the main job from end to end.
demo: demo-prefix
	tests/demo.sh $(abspath $(TARGET))/demo $(abspath $(TARGET))/debug/vsphere-sim

# Measures everything beside its peers: BENCH=quick for a look in three minutes, BENCH_RUNS, BENCH_GIB, BENCH_JOBS,
# BENCH_GROWTH (multiples of 1 GiB of data) for other measurements. Only a whole one draws benches/chart.svg.
BENCH_DIR := $(abspath $(TARGET))/bench
BENCH_CHART ?= $(if $(BENCH)$(BENCH_RUNS)$(BENCH_GIB)$(BENCH_JOBS)$(BENCH_GROWTH),$(abspath $(TARGET))/bench.svg,benches/chart.svg)
export BENCH BENCH_RUNS BENCH_GIB BENCH_JOBS BENCH_GROWTH
bench:
	benches/setup.sh $(BENCH_DIR)
	$(MAKE) install DESTDIR= PREFIX=$(BENCH_DIR)/prefix LIBDIR=$(BENCH_DIR)/prefix/lib INCLUDEDIR=$(BENCH_DIR)/prefix/include
	for program in relay convert; do \
	    $(CC) -std=gnu11 -Wall -Wextra -O2 -o $(BENCH_DIR)/$$program benches/$$program.c \
	        $$(PKG_CONFIG_PATH=$(BENCH_DIR)/prefix/lib/pkgconfig pkg-config --cflags --libs vmdk_backup) \
	        -Wl,-rpath,$(BENCH_DIR)/prefix/lib -pthread || exit; \
	done
	$(CARGO) build --release -p vsphere-sim
	parts=$$($(CARGO) bench --bench parts --features '$(FEATURES)' --no-run --message-format=json-render-diagnostics | \
	    sed -n 's/.*"executable":"\([^"]*\/parts-[^"]*\)".*/\1/p') && \
	python3 -B benches/suite --programs $(BENCH_DIR) --parts "$$parts" --simulator $(abspath $(TARGET))/release/vsphere-sim \
	    --work $(BENCH_DIR)/work --json $(abspath $(TARGET))/bench.json --chart $(BENCH_CHART)

demo-prefix:
	tests/setup.sh demo
	$(MAKE) install DESTDIR= PREFIX=$(abspath $(TARGET))/demo \
	    LIBDIR=$(abspath $(TARGET))/demo/lib INCLUDEDIR=$(abspath $(TARGET))/demo/include
	$(CARGO) build -p vsphere-sim

# What a change must pass before it is committed. The stated Rust version is built where rustup has it; elsewhere
# clippy compares what is used of the standard library with it. Advisories need the network: where their database
# cannot be fetched, that is printed and is no failure.
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
DENY_VERSION := 0.20.2
DENY := $(TARGET)/tools/bin/cargo-deny
check: $(DENY)
	tests/setup.sh check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(if $(FEATURES),$(CARGO) clippy --locked --features '$(FEATURES)' -- -D warnings)
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --workspace
	if rustup toolchain list 2>/dev/null | grep -q '^$(MSRV)'; then \
	    cargo +$(MSRV) check --locked --target-dir $(TARGET)/msrv; \
	else \
	    echo 'check: Rust $(MSRV) is not installed (rustup toolchain install $(MSRV)): not built with it'; \
	fi
	$(DENY) --locked check licenses bans sources
	if $(DENY) --locked fetch db 2>/dev/null; then $(DENY) --locked check advisories; else \
	    echo 'check: the advisory database cannot be fetched: advisories were NOT checked'; \
	fi
	$(CARGO) test --locked --test it -- header:: floors::
	shellcheck $(shell git ls-files '*.sh' .ci/run tests/fuzz/run)
	clang-format --dry-run --Werror $(shell git ls-files 'examples/*.[ch]' 'tests/c/*.[ch]' 'benches/*.c')

$(DENY):
	$(CARGO) install cargo-deny --locked --version $(DENY_VERSION) --root $(TARGET)/tools

# Sets everything up and passes the tests.
test:
	tests/setup.sh test
	tests/peers/setup.sh $(abspath $(TARGET))/peers
	$(MAKE) stage
	$(CARGO) test --workspace
	$(if $(FEATURES),$(CARGO) test --features '$(FEATURES)' --lib vmdk::)

# Programs killed at each step and at random system calls, and with each system call failing; and block devices.
test-system:
	tests/setup.sh test
	VMDK_SYSTEM=full $(CARGO) test --test it -- system:: --nocapture --test-threads=1
	$(CARGO) test --test it -- devices:: --ignored

# Every fault at every point of every operation.
test-faults:
	tests/setup.sh test
	VMDK_FAULTS=full $(CARGO) test --test it -- faults:: --nocapture

# One client for very many operations.
soak:
	tests/setup.sh test
	VMDK_SOAK=full $(CARGO) test --test it -- soak:: --nocapture

# The network between library and server failing at 20,000 bytes.
test-network:
	tests/setup.sh test
	VMDK_NETWORK=full $(CARGO) test --test it -- network:: --nocapture

# Fuzzes whatever the library reads, FUZZ_SECONDS each of FUZZ_TARGETS; corpus and crashes are kept in target/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
fuzz:
	tests/setup.sh fuzz
	tests/fuzz/run $(abspath $(TARGET))/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

clean:
	$(CARGO) clean
