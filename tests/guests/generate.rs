//! Writes components that no compiler would make into a folder: `generate-guests target/guests`.
//!
//! - `compile-bomb`: 9 MB that take a compiler minutes.
//! - `memory-bomb`: 55 KB that take a compiler gigabytes.
//! - `start-loops`: never gets past its start function, so that not even its instance exists.
//! - `core-module`: WebAssembly, but not a component.
//! - `lying-pointer`: its result lies outside its memory.
//! - `no-schedule`: a component that exports nothing at all.
//! - `realloc-loops`: its allocator never returns.
//! - `realloc-lies`: its allocator returns memory that it does not have.
//! - `bad-text`: returns text that is not UTF-8.
//! - `bad-case`: returns neither jobs nor an error.
//! - `grows-tables`: grows its tables beyond the limit.
//! - `giant-memory`: starts with four gigabytes.
//! - `data-bomb`: 800 KB that a compiler turns into gigabytes.
//! - `deep-types`: thousands of types, each inside the one before.
//! - `deep-components`: thousands of components, each inside the one before.
//! - `future-world`: made for a contract that does not exist yet.

#[cfg(not(target_family = "wasm"))]
fn main() -> anyhow::Result<()> {
    generate::all(std::path::Path::new(&std::env::args().nth(1).unwrap_or("target/guests".into())))
}

#[cfg(target_family = "wasm")]
fn main() {}

#[cfg(not(target_family = "wasm"))]
mod generate {
    use std::{fs, path::Path};

    use anyhow::{Context, Result};
    use wasm_encoder::{
        BlockType, CodeSection, Component, ComponentTypeSection, ConstExpr, DataSection, ExportKind, ExportSection,
        Function, FunctionSection, GlobalSection, GlobalType, Instruction, MemArg, MemorySection, MemoryType, Module,
        NestedComponentSection, PrimitiveValType, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
    };
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    use wit_parser::{Resolve, SourceMap};

    /// Locals that the compile bomb mixes in nested loops.
    const MIXED_LOCALS: u32 = 100;
    const NESTED_LOOPS: u32 = 2_000;
    /// The number of such functions: a single one would take memory before it takes time.
    const BOMBS: u32 = 300;
    /// Values that every loop of the memory bomb carries.
    const CARRIED_VALUES: u32 = 1_000;
    const LOOPS_IN_A_ROW: u32 = 4_000;
    /// Locals start after the parameters: the context has 13 values.
    const FIRST_LOCAL: u32 = 13;

    pub(crate) fn all(folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let empty = wasm_encoder::Component::new().finish();
        put(
            folder,
            "compile-bomb",
            &component(&Guest { body: Some(compile_bomb), copies: BOMBS, ..Guest::default() })?,
        )?;
        put(folder, "memory-bomb", &component(&Guest { body: Some(memory_bomb), ..Guest::default() })?)?;
        put(folder, "start-loops", &component(&Guest { loops_at_start: true, ..Guest::default() })?)?;
        put(folder, "core-module", &core_module(&Guest::default()))?;
        put(folder, "lying-pointer", &component(&Guest { answer_at: i32::MAX - 7, ..Guest::default() })?)?;
        put(folder, "no-schedule", &empty)?;
        for (name, allocate) in [("realloc-loops", never as fn() -> Function), ("realloc-lies", || at(-16))] {
            put(folder, name, &component(&Guest { allocate: Some(allocate), ..Guest::default() })?)?;
        }
        // An error whose text is two bytes that are not UTF-8; and an invalid case.
        let answer =
            |bytes: &[u8]| Guest { data: vec![(ANSWER, bytes.to_vec())], answer_at: ANSWER, ..Guest::default() };
        put(folder, "bad-text", &component(&answer(&[1, 0, 0, 0, 12, 2, 0, 0, 2, 0, 0, 0, 0xff, 0xfe]))?)?;
        put(folder, "bad-case", &component(&answer(&[7]))?)?;
        put(folder, "grows-tables", &component(&Guest { body: Some(grow_tables), ..Guest::default() })?)?;
        put(folder, "giant-memory", &component(&Guest { pages: 65_536, ..Guest::default() })?)?;
        let data = (0..DATA_PIECES).map(|piece| (piece * DATA_APART + 4_096, vec![1])).collect();
        put(folder, "data-bomb", &component(&Guest { pages: DATA_PAGES, data, ..Guest::default() })?)?;
        put(folder, "deep-types", &deep_types())?;
        put(folder, "deep-components", &deep_components())?;
        put(folder, "future-world", &component(&Guest { future: true, ..Guest::default() })?)
    }

    /// The address of results that are not empty.
    const ANSWER: i32 = 512;
    const DATA_PIECES: i32 = 60_000;
    const DATA_APART: i32 = 4_096;
    /// 250 MiB.
    const DATA_PAGES: u64 = 4_000;
    const DEEP: u32 = 20_000;

    fn deep_types() -> Vec<u8> {
        let mut types = ComponentTypeSection::new();
        types.defined_type().list(PrimitiveValType::U8);
        for inner in 0..DEEP {
            types.defined_type().list(wasm_encoder::ComponentValType::Type(inner));
        }
        let mut component = Component::new();
        component.section(&types);
        component.finish()
    }

    fn deep_components() -> Vec<u8> {
        (0..DEEP)
            .fold(Component::new(), |inner, _| {
                let mut outer = Component::new();
                outer.section(&NestedComponentSection(&inner));
                outer
            })
            .finish()
    }

    /// Writes a file atomically: readers see the old file or the new one.
    fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let (file, new) = (folder.join(format!("{name}.wasm")), folder.join(format!(".{name}.wasm.new")));
        if fs::read(&file).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &file)).context(file.display().to_string())
    }

    #[derive(Default)]
    struct Guest {
        /// The code of `schedule-jobs` before its result.
        body: Option<fn(&mut Function)>,
        /// Further functions with the same code, which are never called.
        copies: u32,
        loops_at_start: bool,
        /// The address that it returns for its result.
        answer_at: i32,
        /// The code of its allocator.
        allocate: Option<fn() -> Function>,
        /// Data in its memory, with the addresses.
        data: Vec<(i32, Vec<u8>)>,
        /// The initial pages of its memory: one by default.
        pages: u64,
        /// Whether it is made for another version of the contract.
        future: bool,
    }

    /// Wraps the module as a component that exports `schedule`.
    fn component(guest: &Guest) -> Result<Vec<u8>> {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut resolve = Resolve::default();
        let package = if guest.future {
            let mut sources = SourceMap::default();
            for entry in fs::read_dir(&wit)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "wit") {
                    sources.push(&path, fs::read_to_string(&path)?.replace("roost:device@1.0.0", "roost:device@2.0.0"));
                }
            }
            let group = sources.parse().map_err(|(_, error)| anyhow::anyhow!("{error:?}"))?;
            resolve.push_group(group).map_err(|error| anyhow::anyhow!("{error:?}"))?
        } else {
            resolve.push_dir(&wit)?.0
        };
        let world = resolve.select_world(&[package], Some("device-plugin"))?;
        let mut module = core_module(guest);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    }

    /// Makes the module that the contract requires: memory, an allocator and `schedule-jobs`.
    fn core_module(guest: &Guest) -> Vec<u8> {
        const SCHEDULE_JOBS: u32 = 0;
        const ALLOCATE: u32 = 1;
        const START: u32 = 2;

        let mut types = TypeSection::new();
        // The flattened context: four texts, an optional location, two instants. The result is a pointer.
        let mut context = vec![ValType::I32; 9];
        context.extend([ValType::F64, ValType::F64, ValType::I64, ValType::I64]);
        types.ty().function(context, [ValType::I32]);
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], []);
        let carried = vec![ValType::I64; CARRIED_VALUES as usize];
        types.ty().function(carried.clone(), carried);

        let mut functions = FunctionSection::new();
        functions.function(0).function(1).function(2);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: guest.pages.max(1),
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut globals = GlobalSection::new();
        let free = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(free, &ConstExpr::i32_const(1_024));
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 0,
            maximum: None,
            shared: false,
        });
        let version = if guest.future { 2 } else { 1 };
        let mut exports = ExportSection::new();
        exports
            .export("memory", ExportKind::Memory, 0)
            .export(&format!("roost:device/schedule@{version}.0.0#schedule-jobs"), ExportKind::Func, SCHEDULE_JOBS)
            .export("cabi_realloc", ExportKind::Func, ALLOCATE);

        let mut code = CodeSection::new();
        let allocate = guest.allocate.unwrap_or(allocate)();
        code.function(&schedule_jobs(guest)).function(&allocate).function(&spin());
        for _ in 0..guest.copies {
            functions.function(0);
            code.function(&schedule_jobs(guest));
        }
        let mut data = DataSection::new();
        for (offset, bytes) in &guest.data {
            data.active(0, &ConstExpr::i32_const(*offset), bytes.iter().copied());
        }
        let mut module = Module::new();
        module
            .section(&types)
            .section(&functions)
            .section(&tables)
            .section(&memories)
            .section(&globals)
            .section(&exports);
        if guest.loops_at_start {
            module.section(&StartSection { function_index: START });
        }
        module.section(&code);
        if !guest.data.is_empty() {
            module.section(&data);
        }
        module.finish()
    }

    /// Returns the result at `answer_at`; at 0, an empty list.
    fn schedule_jobs(guest: &Guest) -> Function {
        let mut function = Function::new([(MIXED_LOCALS, ValType::I64)]);
        if let Some(body) = guest.body {
            body(&mut function);
        }
        function.instruction(&Instruction::I32Const(guest.answer_at)).instruction(&Instruction::End);
        function
    }

    /// Thousands of nested loops that mix the same locals: to find the origin of a value, a compiler has to search all
    /// of them, for each of them.
    fn compile_bomb(function: &mut Function) {
        let local = |number: u32| FIRST_LOCAL + number % MIXED_LOCALS;
        for level in 0..NESTED_LOOPS {
            function
                .instruction(&Instruction::Loop(BlockType::Empty))
                .instruction(&Instruction::LocalGet(local(level)))
                .instruction(&Instruction::LocalGet(local(level * 7 + 1)))
                .instruction(&Instruction::I64ShrU)
                .instruction(&Instruction::LocalSet(local(level * 3 + 2)));
        }
        for _ in 0..NESTED_LOOPS {
            function
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::BrIf(0))
                .instruction(&Instruction::End);
        }
        for number in 0..MIXED_LOCALS {
            let at = MemArg { offset: u64::from(number) * 8, align: 0, memory_index: 0 };
            function
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::LocalGet(local(number)))
                .instruction(&Instruction::I64Store(at));
        }
    }

    /// A thousand values, carried through thousands of loops: each loop is a few bytes, but a thousand block parameters
    /// for the register allocator.
    fn memory_bomb(function: &mut Function) {
        const CARRIED: BlockType = BlockType::FunctionType(3);
        for value in 0..CARRIED_VALUES {
            function.instruction(&Instruction::I64Const(i64::from(value % 64)));
        }
        for _ in 0..LOOPS_IN_A_ROW {
            function
                .instruction(&Instruction::Loop(CARRIED))
                .instruction(&Instruction::I64Add)
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::I64ExtendI32U)
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::BrIf(0))
                .instruction(&Instruction::End);
        }
        for _ in 0..CARRIED_VALUES {
            function.instruction(&Instruction::Drop);
        }
    }

    /// A bump allocator that never frees or grows memory, because the calls of these guests are short.
    fn allocate() -> Function {
        let mut function = Function::new([(1, ValType::I32)]);
        function
            // Rounded up to the next multiple of 8.
            .instruction(&Instruction::GlobalGet(0))
            .instruction(&Instruction::I32Const(7))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::I32Const(-8))
            .instruction(&Instruction::I32And)
            .instruction(&Instruction::LocalTee(4))
            .instruction(&Instruction::LocalGet(3))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::GlobalSet(0))
            .instruction(&Instruction::LocalGet(4))
            .instruction(&Instruction::End);
        function
    }

    /// An allocator that never returns.
    fn never() -> Function {
        let mut function = Function::new([]);
        function
            .instruction(&Instruction::Loop(BlockType::Empty))
            .instruction(&Instruction::Br(0))
            .instruction(&Instruction::End)
            .instruction(&Instruction::Unreachable)
            .instruction(&Instruction::End);
        function
    }

    /// An allocator that always returns the same address.
    fn at(address: i32) -> Function {
        let mut function = Function::new([]);
        function.instruction(&Instruction::I32Const(address)).instruction(&Instruction::End);
        function
    }

    /// Grows its tables until that fails, and then traps.
    fn grow_tables(function: &mut Function) {
        function
            .instruction(&Instruction::Loop(BlockType::Empty))
            .instruction(&Instruction::RefNull(wasm_encoder::HeapType::FUNC))
            .instruction(&Instruction::I32Const(65_536))
            .instruction(&Instruction::TableGrow(0))
            .instruction(&Instruction::I32Const(-1))
            .instruction(&Instruction::I32Ne)
            .instruction(&Instruction::BrIf(0))
            .instruction(&Instruction::End)
            .instruction(&Instruction::Unreachable);
    }

    fn spin() -> Function {
        let mut function = Function::new([]);
        function
            .instruction(&Instruction::Loop(BlockType::Empty))
            .instruction(&Instruction::Br(0))
            .instruction(&Instruction::End)
            .instruction(&Instruction::End);
        function
    }
}
