# Which GPUs the CUDA back end is built for: cmake -P, with what nvidia-smi and nvcc say in each case;
# and, where the tree has the back end, what its compiler was really told (COMMANDS, EXPECTED).
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../kernels/architectures.cmake)

set(nvcc_12_0 "compute_50\ncompute_75\ncompute_80\ncompute_86\ncompute_87\ncompute_89\ncompute_90\n")
set(nvcc_13_0 "compute_75\ncompute_80\ncompute_86\ncompute_87\ncompute_88\ncompute_89\ncompute_90\ncompute_100\ncompute_110\ncompute_103\ncompute_120\ncompute_121\n")

function(expect gpus known expected)
  nnmf_cuda_architectures(have "${gpus}" "${known}")
  if(NOT have STREQUAL expected)
    message(SEND_ERROR "GPUs '${gpus}': '${have}', expected '${expected}'")
  endif()
endfunction()

# No GPU: the usual ones, and PTX for 10.x and 11.x and for those to come.
expect("" "${nvcc_13_0}" "80-real;86-real;89-real;90-real;120-real;90-virtual;120-virtual")
expect("" "${nvcc_12_0}" "80-real;86-real;89-real;90-real;90-virtual")
expect("No devices were found\n" "${nvcc_12_0}" "80-real;86-real;89-real;90-real;90-virtual")
# One, several, several of a kind.
expect("8.9\n" "${nvcc_13_0}" "89-real")
expect("12.0\n9.0\n" "${nvcc_13_0}" "120-real;90-real")
expect("9.0\n9.0\n9.0\n" "${nvcc_13_0}" "90-real")
expect("10.3\n" "${nvcc_13_0}" "103-real")
# One that is too old, beside another and alone.
expect("7.5\n8.6\n" "${nvcc_13_0}" "86-real")
expect("7.5\n" "${nvcc_12_0}" "80-real;86-real;89-real;90-real;90-virtual")
# One that nvcc does not know yet.
expect("10.0\n" "${nvcc_12_0}" "80-real;86-real;89-real;90-real;90-virtual")
expect("8.9\n12.0\n" "${nvcc_12_0}" "89-real;90-virtual")

foreach(architecture IN LISTS EXPECTED)
  file(READ "${COMMANDS}" commands)
  string(REGEX REPLACE "-.*" "" number "${architecture}")
  set(code "sm")
  if(architecture MATCHES "-virtual$")
    set(code "compute")
  endif()
  if(NOT commands MATCHES "arch=compute_${number},code=.?.?${code}_${number}")
    message(SEND_ERROR "${COMMANDS}: no ${architecture}")
  endif()
endforeach()
