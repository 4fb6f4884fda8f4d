# SIMD columns: one file each, chosen at run time (tersenet/cpu.h); other machines run the scalar one.
include(CheckCXXCompilerFlag)

function(tersenet_columns target)
  if(NOT MSVC)
    # Decode is exact on every machine: no contraction of a * b + c into one rounding. Nobody reads errno,
    # and square roots that set it are no vectors.
    target_compile_options(${target} PRIVATE -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra)
  endif()
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" OR MSVC)
    return()
  endif()
  set(flags_avx2 -mavx2 -mfma -mbmi -mbmi2 -mpclmul)
  set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mpopcnt)
  # GCC 12 takes its own intrinsics for reads of what was never set.
  list(APPEND flags_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
  set(flags_avx512vnni ${flags_avx512} -mavx512vbmi -mavx512vnni -mavx512vpopcntdq)
  set(flags_amx ${flags_avx512vnni} -mavx512vbmi2 -mamx-tile -mamx-int8)
  foreach(column avx2 avx512 avx512vnni amx)
    string(TOUPPER ${column} name)
    string(REPLACE ";" " " line "${flags_${column}}")
    check_cxx_compiler_flag("${line}" TERSENET_HAS_${name})
    if(TERSENET_HAS_${name})
      target_compile_definitions(${target} PRIVATE TERSENET_${name})
      file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/targets/*_${column}.cpp)
      set_source_files_properties(${files} PROPERTIES COMPILE_OPTIONS "${flags_${column}}")
    endif()
  endforeach()
endfunction()
