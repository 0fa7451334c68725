//! Writes components that no compiler would make into a folder: `generate-guests target/guests`.
//!
//! - `compile-bomb`: 9 MB that take a compiler minutes.
//! - `memory-bomb`: 55 KB that take a compiler gigabytes.
//! - `start-loops`: never gets past its start function, so that not even its instance exists.
//! - `core-module`: WebAssembly, but not a component.
//! - `lying-pointer`: its answer lies outside its memory.
//! - `no-schedule`: a component that exports nothing at all.

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
        BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
        GlobalType, Instruction, MemArg, MemorySection, MemoryType, Module, StartSection, TypeSection, ValType,
    };
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    /// Locals that the compile bomb mixes in nested loops.
    const MIXED_LOCALS: u32 = 100;
    const NESTED_LOOPS: u32 = 2_000;
    /// How many times it does so: one alone would take memory before it takes time.
    const BOMBS: u32 = 300;
    /// Values that every loop of the memory bomb carries round.
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
        put(folder, "no-schedule", &empty)
    }

    /// Whoever looks sees the old file or the new one.
    fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let (file, new) = (folder.join(format!("{name}.wasm")), folder.join(format!(".{name}.wasm.new")));
        if fs::read(&file).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &file)).context(file.display().to_string())
    }

    #[derive(Default)]
    struct Guest {
        /// What `schedule-jobs` does before it answers.
        body: Option<fn(&mut Function)>,
        /// Functions of the same kind that nobody calls.
        copies: u32,
        loops_at_start: bool,
        /// Where it says that its answer is.
        answer_at: i32,
    }

    /// The module as a component that exports `schedule`.
    fn component(guest: &Guest) -> Result<Vec<u8>> {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&wit)?;
        let world = resolve.select_world(&[package], Some("device-plugin"))?;
        let mut module = core_module(guest);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    }

    /// What the contract asks of a module: memory, an allocator and `schedule-jobs`.
    fn core_module(guest: &Guest) -> Vec<u8> {
        const SCHEDULE_JOBS: u32 = 0;
        const ALLOCATE: u32 = 1;
        const START: u32 = 2;

        let mut types = TypeSection::new();
        // The context, flat: four texts, perhaps a location, two instants. The answer is a pointer.
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
        memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut globals = GlobalSection::new();
        let free = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(free, &ConstExpr::i32_const(1_024));
        let mut exports = ExportSection::new();
        exports
            .export("memory", ExportKind::Memory, 0)
            .export("roost:device/schedule@1.0.0#schedule-jobs", ExportKind::Func, SCHEDULE_JOBS)
            .export("cabi_realloc", ExportKind::Func, ALLOCATE);

        let mut code = CodeSection::new();
        code.function(&schedule_jobs(guest)).function(&allocate()).function(&spin());
        for _ in 0..guest.copies {
            functions.function(0);
            code.function(&schedule_jobs(guest));
        }
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports);
        if guest.loops_at_start {
            module.section(&StartSection { function_index: START });
        }
        module.section(&code);
        module.finish()
    }

    /// Answers with whatever is at `answer_at`: at 0, an empty list.
    fn schedule_jobs(guest: &Guest) -> Function {
        let mut function = Function::new([(MIXED_LOCALS, ValType::I64)]);
        if let Some(body) = guest.body {
            body(&mut function);
        }
        function.instruction(&Instruction::I32Const(guest.answer_at)).instruction(&Instruction::End);
        function
    }

    /// Thousands of loops, each inside the one before, that mix the same locals: whoever wants to know where a value
    /// comes from has to look through all of them, for each of them.
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

    /// A thousand values, carried through thousands of loops: each loop is a few bytes, and a thousand parameters of a
    /// block for whoever has to find registers for them.
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

    /// Gives out memory that nobody gives back, without ever growing it: the calls of these guests are short.
    fn allocate() -> Function {
        let mut function = Function::new([(1, ValType::I32)]);
        function
            // Up to the next multiple of 8.
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
