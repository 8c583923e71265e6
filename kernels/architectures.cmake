# Chooses the GPU architectures that the CUDA back end is built for.
#
#     nnmf_cuda_architectures(RESULT GPUS KNOWN)
#
# GPUS: the compute capabilities of this machine's GPUs, as listed by nvidia-smi ("8.9", one per
# line), whichever of them is CUDA's device 0. KNOWN: the output of nvcc --list-gpu-arch.
# RESULT: the value for CMAKE_CUDA_ARCHITECTURES.
#
# The machine's GPUs get machine code; if there are none, the usual architectures do. If there are
# none, or nvcc does not know one of them yet, there is also PTX, which the driver compiles for GPUs
# without machine code: 12.0 for future GPUs, and 9.0 for 10.x and 11.x, which cannot run PTX 12.0.
function(nnmf_cuda_architectures result gpus known)
  set(minimum 80) # tensor cores with TF32
  string(REGEX MATCHALL "compute_[0-9]+" known "${known}")
  list(TRANSFORM known REPLACE "compute_" "")
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" wanted "${gpus}")
  list(TRANSFORM wanted REPLACE "\\." "")
  list(REMOVE_DUPLICATES wanted)
  set(chosen "")
  set(all_have_code ON)
  foreach(gpu IN LISTS wanted)
    if(gpu LESS minimum)
      continue()
    elseif(gpu IN_LIST known)
      list(APPEND chosen ${gpu}-real)
    else()
      set(all_have_code OFF)
    endif()
  endforeach()
  if(NOT chosen OR NOT all_have_code)
    foreach(usual IN ITEMS 80 86 89 90 120)
      if(NOT chosen AND usual IN_LIST known)
        list(APPEND usual_ones ${usual}-real)
      endif()
    endforeach()
    list(APPEND chosen ${usual_ones})
    foreach(virtual IN ITEMS 90 120)
      if(virtual IN_LIST known)
        list(APPEND chosen ${virtual}-virtual)
      endif()
    endforeach()
  endif()
  set(${result} "${chosen}" PARENT_SCOPE)
endfunction()
